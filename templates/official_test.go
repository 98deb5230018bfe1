package templates

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/require"

	"kubernetes-openstack/tests/guest"
)

// TestOfficialImages boots a worker's user-data in machines with the services of official images. The services must not
// disturb the node.
func TestOfficialImages(t *testing.T) {
	t.Parallel()
	config, err := configOf(workerMachine())
	require.NoError(t, err)
	files := map[string]string{
		"/etc/multipath.conf": "defaults {\n    find_multipaths no\n}\n", // multipathd claims every disk
		"/etc/ufw/ufw.conf":   "ENABLED=yes\n",
		// a pod's interface, and routes as BIRD and Felix write them
		"/usr/local/sbin/add-pods": `#!/bin/sh -e
			ip link add cali0 type veth peer name pod
			ip link set cali0 up
			ip route add 10.244.0.2 dev cali0 proto 80
			ip route add blackhole 10.244.0.0/26 proto bird
		`,
		"/usr/local/sbin/curl": "#!/bin/sh\ncat >/dev/null\n", // the cluster can sign certificates
	}
	maps.Copy(files, seed(string(config), "192.0.2.10/24", "192.0.2.1"))
	for name, test := range map[string]struct {
		files        map[string]string
		script, want string
	}{
		"Debian 12 and Ubuntu": {
			files: map[string]string{
				"/etc/cloud/cloud.cfg.d/99_test.cfg": "datasource_list: [NoCloud]\n" +
					"system_info: {distro: debian, network: {renderers: [netplan]}}\n",
				// masked
				"/etc/systemd/system/NetworkManager.service": "",
				"/etc/systemd/system/firewalld.service":      "",
				// like a firewalld that was stopped while it started
				"/etc/systemd/system/leftover.service": "[Unit]\nDefaultDependencies=no\nBefore=cloud-init-local.service\n" +
					"[Service]\nType=oneshot\nExecStart=nft add table inet firewalld\n",
				"/etc/systemd/system/cloud-init-local.service.d/leftover.conf": "[Unit]\nWants=leftover.service\n",
			},
			script: `
				configured
				add-pods
				networkctl reconfigure eth0 # like netplan apply
				configured
				routes
				networkctl --no-legend list cali0 | awk '{ print $2, $NF }'
				systemctl stop systemd-resolved.service
				ln -sf /run/resolv.conf /etc/resolv.conf
				echo nameserver 192.0.2.54 >/run/resolv.conf
				pod_servers`,
			want: "10.244.0.2 dev cali0 scope link\ncali0 unmanaged\n192.0.2.54\n",
		},
		"CentOS": {
			files: map[string]string{
				"/etc/cloud/cloud.cfg.d/99_test.cfg": "datasource_list: [NoCloud]\n" +
					"system_info: {distro: centos, network: {renderers: [network-manager]}}\n",
				"/etc/resolv.conf": "",
				// masked
				"/etc/systemd/system/systemd-networkd.service": "",
				"/etc/systemd/system/systemd-resolved.service": "",
				"/etc/systemd/system/ufw.service":              "",
				"/etc/NetworkManager/conf.d/test.conf":         "[main]\nno-auto-default=*\nrc-manager=file\n",
				// In CentOS, these units are not before sysinit.target.
				"/etc/systemd/system/cloud-init-local.service": `[Unit]
Wants=network-pre.target
Requires=dbus.socket
After=systemd-remount-fs.service dbus.socket
Before=NetworkManager.service network-pre.target shutdown.target
Conflicts=shutdown.target
[Service]
Type=oneshot
ExecStart=/usr/bin/cloud-init init --local
RemainAfterExit=yes
`,
				"/etc/systemd/system/cloud-init.service": `[Unit]
Wants=cloud-init-local.service
After=cloud-init-local.service NetworkManager.service NetworkManager-wait-online.service
Before=network-online.target systemd-user-sessions.service
[Service]
Type=oneshot
ExecStart=/usr/bin/cloud-init init
RemainAfterExit=yes
`,
			},
			script: `
				add-pods
				systemctl restart NetworkManager.service
				nm-online --quiet
				routes
				nmcli --get-values DEVICE,STATE device | sort`,
			want: "10.244.0.2 dev cali0 scope link\ncali0:unmanaged\neth0:connected\nlo:connected (externally)\n" +
				"network:disconnected\npod:disconnected\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := maps.Clone(files)
			maps.Copy(files, test.files)
			out, err := guest.Boot(t, files, `
				trap '[ $? = 0 ] || { journalctl --boot --no-pager; cat /var/log/cloud-init.log; }' EXIT
				# prints the name servers of pods that use the node's DNS
				pod_servers() {
					mkdir -p /run/kubelet
					prepare-kubelet
					sed -n 's/^nameserver //p' $(sed -n 's/^resolvConf: //p' /run/kubelet/*.conf)
				}
				configured() { until networkctl --no-legend list eth0 | grep -q configured; do sleep 0.1; done; }
				routes() { { ip route show proto bird; ip route show proto 80; } | sed 's/ *\(linkdown\)* *$//'; }

				until [ -e /var/lib/cloud/instance/first-boot ]; do sleep 0.1; done
				cat /etc/hostname
				hostname
				pod_servers
				for unit in chrony.service firewalld.service ufw.service swap.target; do
					echo $unit $(systemctl is-active $unit) $(systemctl is-enabled $unit)
				done
				nft list tables | grep firewalld || true
				iptables -S | grep '^-P'
				multipath -t | sed -n 's/^.find_multipaths //p'
			`+test.script)
			require.NoError(t, err, out)
			require.Equal(t, `dev-worker-0
dev-worker-0
192.0.2.53
chrony.service active enabled
firewalld.service inactive masked
ufw.service inactive masked
swap.target inactive masked
-P INPUT ACCEPT
-P FORWARD ACCEPT
-P OUTPUT ACCEPT
"strict"
blackhole 10.244.0.0/26
`+test.want, out)
		})
	}
}

// seed returns the files from which cloud-init reads a machine's user-data and its address.
func seed(userData, address, gateway string) map[string]string {
	const folder = "/var/lib/cloud/seed/nocloud/"
	return map[string]string{
		folder + "user-data": userData,
		folder + "meta-data": "instance-id: 4f1c0d9e-2b7a-4c55-9e2e-0123456789ab\nlocal-hostname: name-from-the-cloud\n",
		folder + "network-config": `version: 2
ethernets:
  eth0:
    accept-ra: false
    addresses: [` + address + `]
    gateway4: ` + gateway + `
    nameservers: {addresses: [192.0.2.53], search: [example.org]}
`,
	}
}
