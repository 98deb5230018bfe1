package templates

import (
	"cmp"
	"io/fs"
	"maps"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/tests/guest"
)

// These tests run scripts on a system that is similar to CentOS (package guest): bash is /bin/sh, gawk is awk, and dnf
// installs stub packages.

// onStream returns the files of m on CentOS Stream with SELinux. By default, its kernel has all modules. Otherwise the
// variable kernel has the version of its kernel, whose modules must be on the disk.
func onStream(t *testing.T, m values) map[string]string {
	files := filesOf(t, m)
	maps.Copy(files, map[string]string{
		"/usr/local/sbin/selinuxenabled":      "#!/bin/sh\n",
		"/usr/local/sbin/systemctl":           "#!/bin/sh\n[ \"$1\" = start ] || echo \"systemctl $*\"\n",
		"/usr/local/sbin/systemd-detect-virt": "#!/bin/sh\nexit 1\n",
		"/usr/local/sbin/uname":               "#!/bin/sh\necho \"$kernel\"\n",
		"/usr/local/sbin/modprobe": "#!/bin/sh\n" +
			"[ -z \"${kernel-}\" ] || exec /usr/sbin/modprobe --set-version=$kernel --dry-run \"$@\"\n",
	})
	return files
}

const (
	// removeCommands deletes the commands of all packages.
	removeCommands = "for command in $(sed -E '/^(#|modules)/d; s/ .*//' /etc/os-packages.list); do" +
		" rm \"$(command -v $command)\"; done\n"
	// noMirror lets dnf use a server that does not run.
	noMirror = "sed -i s,file:///srv,http://127.0.0.1:9, /etc/yum.repos.d/*\n"
	// policy installs SELinux's types for containers. rpm takes less time than dnf, but Debian's rpm recommends alien.
	policy = "rpm --install /srv/AppStream/container-selinux-*.rpm 2>/dev/null\n"
	// modules is the stub package of modules, for the kernel of CentOS Stream 10.
	modules = "kernel-modules-extra-6.12.0-100.el10.x86_64"
)

// TestPackagesOnCentOS installs packages with the real dnf and rpm.
func TestPackagesOnCentOS(t *testing.T) {
	t.Parallel()
	guest.OnCentOS(t)
	const node = "curl haproxy nftables iptables-nft ipset conntrack-tools socat openssl"
	for name, test := range map[string]struct {
		machine string // by default a worker
		script  string
		want    string
	}{
		"worker": {
			script: removeCommands + "install-os-packages; install-os-packages; command -v haproxy nft; rpm -q haproxy",
			want: "installing " + node + " container-selinux\n/usr/sbin/haproxy\n/usr/sbin/nft\n" +
				"haproxy-1-1.x86_64\n",
		},
		"control plane": {
			machine: "control-plane", script: removeCommands + "install-os-packages; install-os-packages",
			want: "installing " + node + " keepalived container-selinux\n",
		},
		"etcd": {
			machine: "etcd", script: "rm /usr/local/sbin/selinuxenabled\n" + removeCommands +
				"install-os-packages; install-os-packages",
			want: "installing curl e2fsprogs\n",
		},
		"an image with all packages needs no mirror": {script: policy + noMirror + "install-os-packages"},
		"no mirror: the error names all packages": {
			script: removeCommands + noMirror + "! install-os-packages >/log 2>/error; cut -d [ -f 1 /error",
			want: "cannot install " + node + " container-selinux: Errors during downloading metadata for repository " +
				"'appstream': - Curl error (7): Couldn't connect to server for " +
				"http://127.0.0.1:9/AppStream/repodata/repomd.xml \n",
		},
		"a package is in no repository": {
			script: "rm $(command -v nft socat) /srv/*/{nftables,socat}-*; rm -r /srv/*/repodata\n" +
				"for repository in /srv/*; do createrepo_c --quiet $repository; done\n" +
				policy + "! install-os-packages >/log",
			want: "cannot install nftables socat: No match for argument: nftables No match for argument: socat " +
				"Error: Unable to find a match: nftables socat\n",
		},
		"a repository is missing": {
			script: policy + "rm $(command -v haproxy) /etc/yum.repos.d/BaseOS.repo; ! install-os-packages >/log",
			want: "cannot install haproxy: Error: Problem: conflicting requests - nothing provides openssl-libs needed by " +
				"haproxy-1-1.x86_64\n",
		},
		"power failure after an installation": {
			script: policy + removeCommands + "install-os-packages; : >/usr/sbin/nft; rm /usr/bin/socat\n" +
				"echo nftables haproxy >/var/lib/os-packages.unsynced\n" +
				"install-os-packages; rpm --verify --all; cat /usr/sbin/nft; command -v socat\n" +
				"[ ! -e /var/lib/os-packages.unsynced ]",
			want: "installing " + node + "\ninstalling socat nftables haproxy\n#!/bin/sh\n/usr/bin/socat\n",
		},
		"release 10 loads modules of a package": {
			script: "export kernel=6.12.0-100.el10.x86_64\n" + policy + "install-os-packages; install-os-packages\n" +
				"rpm -q kernel-modules-extra",
			want: "installing " + modules + "\n" +
				"systemctl restart systemd-modules-load.service systemd-sysctl.service\n" + modules + "\n",
		},
		"release 10 with another kernel than the repositories": {
			script: "export kernel=6.12.0-99.el10.x86_64\n" + policy + "! install-os-packages >/log",
			want: "cannot install kernel-modules-extra-6.12.0-99.el10.x86_64: No match for argument: " +
				"kernel-modules-extra-6.12.0-99.el10.x86_64 Error: Unable to find a match: " +
				"kernel-modules-extra-6.12.0-99.el10.x86_64: the package sources have no modules of the running kernel: " +
				"use a newer image, or one with this package\n",
		},
		"release 10 on etcd machines needs no modules": {
			machine: "etcd", script: "export kernel=6.12.0-100.el10.x86_64\n" + policy + "install-os-packages",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := guest.Run(t, onStream(t, machines()[cmp.Or(test.machine, "worker")]), "bash", "-euc", test.script)
			require.NoError(t, err, out)
			require.Equal(t, test.want, out)
		})
	}
}

// TestErrorsOfAPT reads the errors of the real apt.
func TestErrorsOfAPT(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ sources, want string }{
		"no mirror": {"deb http://127.0.0.1:9/debian bookworm main\n",
			"cannot install missing other: Err:1 http://127.0.0.1:9/debian bookworm InRelease Could not connect to " +
				"127.0.0.1:9 (127.0.0.1). - connect (111: Connection refused) Reading package lists...\n"},
		"unknown packages": {"",
			"cannot install missing other: E: Unable to locate package missing E: Unable to locate package other\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := filesOf(t, workerMachine())
			files["/etc/os-packages.list"] = "missing missing -\nother other -\n"
			files["/etc/apt/sources.list"] = test.sources
			out, err := guest.Run(t, files, "sh", "-c", "rm -rf /etc/apt/sources.list.d/*; install-os-packages >/log")
			require.Error(t, err, out)
			require.Equal(t, test.want, out)
		})
	}
}

// TestSudoFindsPrograms runs the commands of operators with sudo, with CentOS' settings of sudo.
func TestSudoFindsPrograms(t *testing.T) {
	t.Parallel()
	guest.OnCentOS(t)
	for role, test := range map[string]struct{ commands, want string }{
		"worker": {"calicoctl birdcl", "calicoctl:\nbirdcl:\n"},
		"control-plane": {"calicoctl birdcl kubectl",
			"calicoctl: KUBECONFIG=/etc/kubernetes/admin.conf\nbirdcl: KUBECONFIG=/etc/kubernetes/admin.conf\n" +
				"kubectl: KUBECONFIG=/etc/kubernetes/admin.conf\n"},
		"etcd": {"etcdctl", "etcdctl: ETCDCTL_CACERT=/etc/etcd/pki/ca.crt ETCDCTL_CERT=/etc/etcd/pki/client.crt " +
			"ETCDCTL_ENDPOINTS=https://127.0.0.1:2379 ETCDCTL_KEY=/etc/etcd/pki/client.key\n"},
	} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			files := filesOf(t, machines()[role])
			for name, content := range map[string]string{
				"/etc/sudoers": "Defaults always_set_home\nDefaults env_reset\n" +
					"Defaults secure_path = /sbin:/bin:/usr/sbin:/usr/bin\nroot ALL=(ALL) ALL\n#includedir /etc/sudoers.d\n",
				"/etc/sudoers.d/90-cloud-init-users": "cloud-user ALL=(ALL) NOPASSWD:ALL\n",
			} {
				files[name] = content
			}
			for command := range strings.FieldsSeq(test.commands) {
				files["/usr/local/bin/"+command] =
					"#!/bin/sh\necho " + command + ": $(env | grep -E '^(KUBECONFIG|ETCDCTL_)' | sort)\n"
				delete(files, "/usr/local/sbin/"+command)
			}
			files["/etc/hosts"] = "127.0.0.1 localhost\n"
			out, err := guest.Run(t, files, "unshare", "--uts", "sh", "-euc", `
				hostname localhost
				useradd --create-home cloud-user
				chmod 0440 /etc/sudoers /etc/sudoers.d/*
				visudo --check --quiet
				for command in $1; do su - cloud-user -c "sudo $command"; done`, "sh", test.commands)
			require.NoError(t, err, out)
			require.Equal(t, test.want, out)
		})
	}
}

// TestJournalKeepsEarlierBoots runs the real journald, first with the default of CentOS. first-boot keeps the lines of
// the current boot, and journald keeps them at the next boot.
func TestJournalKeepsEarlierBoots(t *testing.T) {
	t.Parallel()
	guest.OnCentOS(t)
	files := onStream(t, workerMachine())
	files["/etc/machine-id"] = "0123456789abcdef0123456789abcdef\n"
	files["/usr/local/sbin/systemctl"] = `#!/bin/sh
case "$*" in
"restart systemd-journald.service"*)
	kill "$(cat /run/journald.pid)"
	until journalctl --sync 2>/dev/null; do sleep 0.05; done
	;;
*is-active*) exit 1 ;;
esac
`
	out, err := guest.Run(t, files, "bash", "-euc", `
		mkdir -p /sys/fs/cgroup
		mount -t cgroup2 cgroup /sys/fs/cgroup
		rm -rf /var/log/journal
		boot() { # restarts journald like systemd
			while :; do
				/usr/lib/systemd/systemd-journald 2>/dev/null & echo $! >/run/journald.pid
				wait $! || true
			done & boot=$!
			until [ -e /run/systemd/journal/io.systemd.journal ]; do sleep 0.05; done
			journalctl --flush
		}
		mv /etc/systemd/journald.conf.d / || mkdir /journald.conf.d
		mkdir -p /var/lib/cloud/instance
		boot
		echo first boot | systemd-cat --identifier test
		mv /journald.conf.d /etc/systemd
		first-boot
		kill $boot "$(cat /run/journald.pid)"
		rm -rf /run/systemd /run/log
		boot
		echo second boot | systemd-cat --identifier test
		until journalctl --output cat | grep -q second; do sleep 0.05; done
		journalctl --output cat --identifier test
		journalctl --output cat --identifier systemd-journald | grep -o 'max [0-9.]*[GM]' | tail -n 1
		kill $boot "$(cat /run/journald.pid)"`)
	require.NoError(t, err, out)
	require.Equal(t, "first boot\nsecond boot\nmax 1.0G\n", out)
}

// TestScriptsOnCentOS runs tests of scripts again on CentOS. Tests that need much processor time run only there: on
// Debian, the machines of the end-to-end tests run their scripts.
func TestScriptsOnCentOS(t *testing.T) {
	guest.OnCentOS(t)
	covered := map[string]bool{}
	for _, row := range []struct {
		name    string
		test    func(*testing.T)
		scripts string
	}{
		{"bootstrap-report", TestBootstrapReport, "bootstrap-report"},
		{"first-boot", TestFirstBoot, "first-boot"},
		{"artifacts", TestInstallArtifacts, "install-artifacts"},
		{"artifacts-ca", TestArtifactsCA, "trust-artifacts-ca"},
		{"wait-for-unit", TestWaitForUnit, "wait-for-unit"},
		{"calico-image", TestCalicoImage, "calico-image"},
		{"calico-peers", TestCalicoPeers, "calico-peers check-calico-peers"},
		{"check-etcd", TestCheckEtcdReportsAnOldBackup, "check-etcd"},
		{"check-kube-proxy", TestCheckKubeProxy, "check-kube-proxy"},
		{"check-node", TestCheckNode, "check-node"},
		{"etcd-volume-link", TestEtcdVolumeLink, "etcd-volume-link"},
		{"metadata-filter", TestMetadataFilter, "keep-metadata-filter"},
		{"ntp-servers", TestApplyNTPServers, "apply-ntp-servers"},
		{"prepare-kubelet", TestPrepareKubelet, "prepare-kubelet"},
		{"short scripts", testShortScripts, "announce-services birdcl check-calico-bird check-calico-felix " +
			"check-keystone-webhook sv wait-for-artifact wait-for-bgp-secrets wait-for-node-certificate"},
		// These tests call OnCentOS.
		{"TestCalicoNodeStays", nil, "calico-node-ref calico-patch-node wait-for-node"},
		{"TestCalicoResources", nil, "apply-calico-resources"},
		{"TestControlPlaneRuns", nil, "apply-cluster-resources check-kube-apiserver check-kube-controller-manager " +
			"check-kube-scheduler"},
		{"TestDamagedFilesAreRepaired", nil, "calico-credential verify-key-pair"},
		{"TestEtcdVolumeRefuses", nil, "etcd-volume"},
		{"TestInstallCNIConfig", nil, "install-cni-config"},
		{"TestNodeDrain", nil, "node-drain"},
		{"TestPackagesOnCentOS", nil, "install-os-packages"},
		{"TestReloadKubeAPIServer", nil, "reload-kube-apiserver"},
		{"TestVirtualAddressMoves", nil, "api-vip-interface"},
	} {
		for script := range strings.FieldsSeq(row.scripts) {
			covered[script] = true
		}
		if row.test != nil {
			t.Run(row.name, row.test)
		}
	}
	require.NoError(t, fs.WalkDir(systems, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && mode("/"+name) == 0o755 {
			assert.Contains(t, covered, path.Base(name), "%s: must be in the table of this test", name)
			delete(covered, path.Base(name))
		}
		return err
	}))
	assert.Empty(t, covered)
}

// testShortScripts runs scripts that only wait for another program, or pass its answer on.
func testShortScripts(t *testing.T) {
	t.Parallel()
	for script, test := range map[string]struct {
		files map[string]string
		run   string
		want  string
	}{
		"announce-services": {
			map[string]string{"birdcl": "echo \"birdcl $*\""},
			"mkdir -p /run/calico; announce-services true; cat /run/calico/announcement.cfg",
			"birdcl configure\ndefine services_announced = true;\n",
		},
		"birdcl": {
			map[string]string{"systemctl": "echo 7", "nsenter": "echo \"nsenter $*\""}, "birdcl show status",
			"nsenter --target 7 --mount --root birdcl -s /run/calico/bird.ctl show status\n",
		},
		"check-calico-bird": {
			map[string]string{"birdcl": "echo BIRD; echo 'Unable to connect'; exit 1"},
			"! check-calico-bird; config=/opt/calico/node/etc/calico/confd/config; mkdir -p $config; touch $config/bird.cfg\n" +
				"! check-calico-bird",
			"calico-confd has not written BIRD's configuration yet\nUnable to connect\n",
		},
		"check-calico-felix": {
			map[string]string{"curl": "for url; do :; done; echo \"$url\" >&2; exit 7"}, "! check-calico-felix",
			"http://127.0.0.1:9099/readiness\n",
		},
		"check-keystone-webhook": {
			map[string]string{"curl": "cat /answer"},
			"printf 'no backend\\nsecond line' >/answer; ! check-keystone-webhook; echo ok >/answer; check-keystone-webhook",
			"no backend\n",
		},
		"sv": {
			map[string]string{"birdcl": "echo \"birdcl $*\""}, "/opt/calico/bin/sv hup bird; /opt/calico/bin/sv hup bird6",
			"birdcl -s /run/calico/bird.ctl configure\n",
		},
		"wait-for-artifact": {
			map[string]string{"sleep": "echo waiting; mkdir -p /run/artifacts; touch /run/artifacts/runc"},
			"wait-for-artifact runc; wait-for-artifact runc", "waiting\n",
		},
		"wait-for-bgp-secrets": {
			map[string]string{"curl": "read -r status </status; echo $status", "sleep": "echo waiting; echo 404 >/status"},
			"wait-for-bgp-secrets; echo KUBECONFIG=/etc/kubernetes/kubelet.conf >>/etc/calico/confd.env; echo 503 >/status\n" +
				"wait-for-bgp-secrets", "waiting\n",
		},
		"wait-for-node-certificate": {
			map[string]string{"sleep": "mkdir -p /var/lib/kubelet/pki; touch /var/lib/kubelet/pki/kubelet-client-current.pem"},
			"wait-for-node-certificate; wait-for-node-certificate", "kubelet has no client certificate yet\n",
		},
	} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			files := filesOf(t, controlPlaneMachine())
			for name, content := range test.files {
				if script != name {
					files["/usr/local/sbin/"+name] = "#!/bin/sh\n" + content + "\n"
				}
			}
			out, err := guest.Run(t, files, "sh", "-euc", test.run)
			require.NoError(t, err, out)
			require.Equal(t, test.want, out)
		})
	}
}
