package templates

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/require"

	"kubernetes-openstack/tests/guest"
)

// TestOfficialImages boots a worker's user-data in images with the services of official ones. They must not disturb the
// node.
func TestOfficialImages(t *testing.T) {
	t.Parallel()
	config, err := configOf(workerMachine())
	require.NoError(t, err)
	files := map[string]string{
		"/var/lib/cloud/seed/nocloud/user-data": string(config),
		"/var/lib/cloud/seed/nocloud/meta-data": "instance-id: 4f1c0d9e-2b7a-4c55-9e2e-0123456789ab\n" +
			"local-hostname: name-from-the-cloud\n",
		"/var/lib/cloud/seed/nocloud/network-config": `version: 2
ethernets:
  eth0:
    addresses: [192.0.2.10/24]
    gateway4: 192.0.2.1
    nameservers: {addresses: [192.0.2.53], search: [example.org]}
`,
		"/etc/multipath.conf": "defaults {\n    find_multipaths no\n}\n", // claims every disk
		"/etc/ufw/ufw.conf":   "ENABLED=yes\n",
		"/usr/local/sbin/curl": "#!/bin/sh\n", // the cluster can sign certificates
	}
	// prints the name servers of pods that use the node's DNS
	const podServers = `
		pod_servers() {
			prepare-kubelet
			sed -n 's/^nameserver //p' $(sed -n 's/^resolvConf: //p' /run/kubelet/*.conf)
		}
	`
	for name, test := range map[string]struct {
		config, unmask string // of cloud-init; the image's network manager
		script, want   string
	}{
		"Debian 12 and Ubuntu": {
			config: "network: {renderers: [netplan]}",
			unmask: "systemd-networkd.service",
			script: `
				ip route add 10.244.1.0/26 via 192.0.2.1 proto bird
				ip route add blackhole 10.244.0.0/26 proto bird
				ip route add 10.244.0.2 dev cali0 proto 80
				systemctl restart systemd-networkd.service
				until networkctl status eth0 | grep -q routable; do sleep 0.1; done
				ip route show proto bird
				ip route show proto 80
				networkctl --no-legend list cali0 | awk '{ print $2, $NF }'
				systemctl stop systemd-resolved.service
				ln -sf /run/resolv.conf /etc/resolv.conf
				echo nameserver 192.0.2.54 >/run/resolv.conf
				pod_servers`,
			want: ``,
		},
		"CentOS": {
			config: "distro: centos, network: {renderers: [network-manager]}",
			unmask: "NetworkManager.service",
			script: `
				nmcli --get-values DEVICE,STATE device`,
			want: ``,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := maps.Clone(files)
			files["/etc/cloud/cloud.cfg.d/99_test.cfg"] = "datasource_list: [NoCloud]\nsystem_info: {" + test.config + "}\n"
			files["/unmask"] = test.unmask + "\n"
			out, err := guest.Boot(t, files, podServers+`
				until [ -e /var/lib/cloud/instance/first-boot ]; do sleep 0.1; done
				cat /etc/hostname; hostname
				grep -c . /etc/resolv.conf
				pod_servers
				for unit in chrony firewalld ufw multipathd swap.target; do
					echo $unit $(systemctl is-active $unit) $(systemctl is-enabled $unit)
				done
				nft list tables
				multipath -t | grep find_multipaths
			`+test.script)
			require.NoError(t, err, out)
			require.Equal(t, test.want, out)
		})
	}
}
