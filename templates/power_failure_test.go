package templates

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/tests/guest"
)

// A power failure leaves a file that was not synced empty, incomplete, or with other bytes. These tests damage each
// file that a later boot uses, and check that the file is repaired.

// damages maps names to scripts that damage the file $1.
var damages = map[string]string{
	"empty":   `: >"$1"`,
	"half":    `truncate --size $(($(stat --dereference --format %s "$1") / 2)) "$1"`,
	"garbage": `head -c "$(stat --dereference --format %s "$1")" /dev/urandom >"$1.new"; cat "$1.new" >"$1"; rm "$1.new"`,
}

// damagedTool is an archive of two programs.
const damagedTool = `
mkdir -p /archive/bin; for i in 1 2; do echo "echo $i" >/archive/bin/tool$i; done
tar --create --gzip --file /archive.tar.gz --directory /archive bin
echo "tool $(sha256sum </archive.tar.gz | cut -d ' ' -f 1) file:///archive.tar.gz /usr/local/bin bin/tool1 bin/tool2" \
	>/etc/artifacts.list
`

func TestDamagedFilesAreRepaired(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "etcd")
	// newPair returns a certificate and its key, without its public key like those in the user-data of control planes
	newPair := func(name string) (certificate, key string) {
		certificate, key = ca.issue(t, name, "")
		block, _ := pem.Decode([]byte(key))
		private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		require.NoError(t, err)
		der, err := x509.MarshalECPrivateKey(private.(*ecdsa.PrivateKey))
		require.NoError(t, err)
		return certificate, withoutPublicKey(encode("EC PRIVATE KEY", der))
	}
	certificate, key := newPair("calico")
	clientCertificate, clientKey := newPair("system:node:dev-worker-0")
	secret := fmt.Sprintf("{\n    \"etcd.crt\": \"%s\",\n    \"etcd.key\": \"%s\"\n}\n",
		base64.StdEncoding.EncodeToString([]byte(certificate)), base64.StdEncoding.EncodeToString([]byte(key)))
	const pki, node = "/etc/calico/pki/", "/var/lib/kubelet/pki/kubelet-"
	fakes := map[string]string{
		node + "client-current.pem":         clientCertificate + clientKey,
		node + "server-current.pem":         clientCertificate + clientKey,
		"/secret":                           secret,
		"/usr/local/sbin/calicoctl":         "#!/bin/sh\n",
		"/usr/local/sbin/systemctl":         "#!/bin/sh\n",
		"/var/lib/cloud/data/instance-id":   "4f1c0d9e-2b7a-4c55-9e2e-0123456789ab\n",
		"/usr/local/sbin/calico-patch-node": "#!/bin/sh\n",
		// The API does not respond while /offline exists. /offline counts the requests.
		"/usr/local/sbin/curl": `#!/bin/sh
case "$*" in *file:///*) exec /usr/bin/curl "$@" ;; esac
[ ! -e /offline ] || { echo request >>/offline; echo 'curl: (7) no answer' >&2; exit 7; }
case "$*" in *calico-node-etcd*) cat /secret ;; esac
`,
	}
	credential := `
		calico-credential
		cp -a /etc/calico/pki /good
		touch /offline
		calico-credential
		damage "$1"
		: >/offline
		calico-credential >/log 2>&1 & pid=$!
		until [ "$(wc -l </offline)" -ge 2 ]; do sleep 0.1; done # it repeats the request
		cat /log
		rm /offline
		wait $pid
		diff -r /good /etc/calico/pki && echo repaired`
	const offline = "cannot read Secret kube-system/calico-node-etcd: curl: (7) no answer"
	kept := offline + "; using the files of an earlier boot\n"
	artifacts := damagedTool + `
		install-artifacts
		for i in 1 2; do cp /usr/local/bin/tool$i /good$i; done
		damage $1 # expands the pattern
		: >/usr/local/bin/tool2 # lost by the same power failure
		install-artifacts >/log || cat /log
		for i in 1 2; do cmp /usr/local/bin/tool$i /good$i; done
		echo repaired`
	const state = `
		mkdir -p "${1%/*}"
		echo '{"checksum":1}' | tee "$1" >/var/lib/kubelet/cpu_manager_state
		prepare-kubelet
		cat "$1" # is intact
		damage "$1"
		prepare-kubelet | grep "removing a damaged state: $1$"
		[ ! -e "$1" ] && [ -s /var/lib/kubelet/cpu_manager_state ] && echo repaired`
	const certificates = `
		prepare-kubelet
		earlier=${1%current.pem}2026-12-01.pem
		touch ${1%current.pem}2026-12-02.pem # also damaged
		cp "$1" "$earlier"
		damage "$1"
		prepare-kubelet
		[ "$(readlink "$1")" = "$earlier" ]
		damage "$1"
		prepare-kubelet >/dev/null
		[ ! -e "$1" ]`
	for _, row := range []struct {
		file    string
		machine values
		script  string
		want    string
	}{
		{pki + "etcd.crt", workerMachine(), credential, kept + pki + "etcd.crt has no valid certificate; " + offline +
			"\nrepaired\n"},
		{pki + "etcd.key", workerMachine(), credential, kept + pki + "etcd.key does not have the key of the certificate in " +
			pki + "etcd.crt; " + offline + "\nrepaired\n"},
		// kubelet uses the one before, or requests another one
		{node + "client-current.pem", workerMachine(), certificates,
			"removing a damaged link: " + node + "client-current.pem "},
		{node + "server-current.pem", workerMachine(), certificates,
			"removing a damaged link: " + node + "server-current.pem "},
		{"/var/lib/kubelet/dra_manager_state", workerMachine(), state, "repaired\n"},
		// kubelet verifies the credentials of pods again
		{"/var/lib/kubelet/image_manager/pulled/sha256-0123", workerMachine(), `
			mkdir -p "${1%/*}"; echo '{}' >"$1"; damage "$1"; prepare-kubelet; [ -e "$1" ] && echo kept`, "kept\n"},
		{"/var/cache/artifacts/tool-*.sums", workerMachine(), artifacts, "repaired\n"},
		{"/var/cache/artifacts/tool-*[0-9a-f]", workerMachine(), artifacts, "repaired\n"},
	} {
		for _, damage := range slices.Sorted(maps.Keys(damages)) {
			t.Run(strings.TrimPrefix(row.file, "/")+" "+damage, func(t *testing.T) {
				t.Parallel()
				if damage == "garbage" {
					guest.OnCentOS(t)
				}
				files := filesOf(t, row.machine)
				delete(files, pki+"etcd.crt")
				delete(files, pki+"etcd.key")
				maps.Copy(files, fakes)
				out, err := guest.Run(t, files, "sh", "-euc", `
					mkdir -p /run/kubelet /var/lib/calico
					damage() { `+damages[damage]+`; }
					`+row.script, "sh", row.file)
				require.NoError(t, err, out)
				require.Contains(t, out, row.want)
			})
		}
	}
	t.Run("incomplete line of confd's environment", func(t *testing.T) {
		t.Parallel()
		files := filesOf(t, controlPlaneMachine())
		maps.Copy(files, fakes)
		files["/usr/local/sbin/sleep"] = "#!/bin/sh\n"
		out, err := guest.Run(t, files, "sh", "-euc", `
			echo KUBECONFIG=/etc/kube >>/etc/calico/confd.env
			calico-node-ref
			cat /etc/calico/confd.env`)
		require.NoError(t, err, out)
		require.Equal(t, "KUBECONFIG=/etc/kubernetes/kubelet.conf\n", out)
	})
	t.Run("incomplete Secret", func(t *testing.T) {
		t.Parallel()
		files := filesOf(t, workerMachine())
		maps.Copy(files, fakes)
		files["/secret"] = secret[:len(secret)/3]
		out, err := guest.Run(t, files, "sh", "-euc", `
			calico-credential >/log & pid=$!
			until [ -s /log ]; do sleep 0.1; done
			kill $pid
			cat /log
			ls `+pki)
		require.NoError(t, err, out)
		require.Contains(t, out, "Secret kube-system/calico-node-etcd is not complete: "+pki+"etcd.crt.part has no valid ")
		require.NotContains(t, out, "\netcd.crt\n")
	})
}

// TestCloudInitWritesDamagedFilesAgain runs cloud-init with a machine's user-data. After a power failure at the first
// boot, cloud-init writes all files again: ours, the hostname and the keys of the SSH server. After first-boot has
// synced the files, cloud-init keeps them.
func TestCloudInitWritesDamagedFilesAgain(t *testing.T) {
	t.Parallel()
	for role, m := range machines() {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			config, err := configOf(m)
			require.NoError(t, err)
			paths := slices.Sorted(maps.Keys(filesOf(t, m)))
			files := map[string]string{
				"/var/lib/cloud/seed/nocloud/user-data": string(config),
				"/var/lib/cloud/seed/nocloud/meta-data": "instance-id: 4f1c0d9e-2b7a-4c55-9e2e-0123456789ab\n",
				"/etc/cloud/cloud.cfg.d/99_test.cfg": "datasource_list: [NoCloud]\nnetwork: {config: disabled}\n" +
					"cloud_init_modules: [bootcmd, write-files, set_hostname, update_hostname, users-groups, ssh]\n",
				"/paths": strings.Join(paths, "\n") + "\n",
			}
			for _, name := range []string{"systemctl", "systemd-run", "swapoff", "journalctl"} {
				files["/usr/local/sbin/"+name] = "#!/bin/sh\n"
			}
			out, err := guest.Run(t, files, "unshare", "--net", "--uts", "bash", "-euc", `
				boot() {
					rm -rf /run/cloud-init
					cloud-init init --local >/log 2>&1 && cloud-init init >>/log 2>&1 || { cat /log; return 1; }
				}
				damage_empty() { `+damages["empty"]+`; }
				damage_half() { `+damages["half"]+`; }
				damage_garbage() { `+damages["garbage"]+`; }
				damage_all() {
					while read -r file; do for damage in garbage half empty; do
						! [ $((RANDOM % 2)) = 0 ] || damage_$damage "$file"
					done; done </paths
				}
				boot
				xargs sha256sum </paths >/sums
				damage_all
				for file in /etc/hostname /etc/ssh/ssh_host_*; do damage_empty $file; done
				# cloud-init 22.4 fails if set-hostname is empty, before it reads the user-data
				find /var/lib/cloud/data /var/lib/cloud/instances -type f ! -name set-hostname |
					while read -r file; do damage_empty $file; done
				boot
				sha256sum --check --quiet /sums && echo written again
				cat /etc/hostname
				for key in /etc/ssh/ssh_host_*_key; do ssh-keygen -y -f $key | cut -d ' ' -f 1; done
				sh /usr/local/sbin/first-boot a.service
				rm /var/lib/cloud/instance/first-boot # it was not complete when the machine lost power
				read -r file </paths
				echo changed >"$file"
				boot
				cat "$file"
			`)
			require.NoError(t, err, out)
			require.Equal(t, "written again\n"+m.ID+"\necdsa-sha2-nistp256\nssh-ed25519\nchanged\n", out)
		})
	}
}

// TestInstallArtifactsVerifiesAllMembers checks that a list of sums with only some of an archive's files does not
// count.
func TestInstallArtifactsVerifiesAllMembers(t *testing.T) {
	t.Parallel()
	m := values{Machine: cluster.Machine{ID: "test", Role: "test", Artifacts: artifacts("containerd")}}
	out, err := guest.Run(t, filesOf(t, m), "sh", "-c", damagedTool+`
		install-artifacts >/dev/null
		: >/usr/local/bin/tool2
		sed -i 2d /var/cache/artifacts/*.sums
		install-artifacts
		sh /usr/local/bin/tool2`)
	require.NoError(t, err, out)
	require.Equal(t, "tool: installed /usr/local/bin/tool1\ntool: installed /usr/local/bin/tool2\n2\n", out)
}
