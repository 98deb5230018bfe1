//go:build e2e

package templates

import (
	"bytes"
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// enforcingReport waits for the units that have their own domains, and prints their states and all denials.
const enforcingReport = `#!/bin/bash
until [ -e /var/lib/cloud/instance/first-boot ]; do sleep 1; done
systemctl stop kube-apiserver # api-vip starts after it, and without a mirror it never starts
decided() { [ "$(systemctl show --property=ActiveState --value "$1")" = active ] ||
    [ "$(systemctl show --property=NRestarts --value "$1")" -ge 2 ]; }
for unit in api-proxy etcd-proxy api-vip; do until decided $unit; do sleep 1; done; done
sleep 5 # two runs of keepalived's script
echo "report: $(getenforce)"
for unit in api-proxy etcd-proxy api-vip metadata-filter bootstrap-report; do
    pid=$(systemctl show --property=MainPID --value $unit)
    echo "report: $unit $(systemctl is-active $unit) $(tr -d '\0' <"/proc/$pid/attr/current")"
    systemctl --quiet is-active $unit || journalctl --boot --output=cat --lines=20 --unit $unit
done
journalctl --boot --output=cat _TRANSPORT=audit | grep 'avc:  denied' | sed 's/^/report: /'
echo "report: end"
systemctl --force --force poweroff
`

// TestSELinuxEnforces boots a control plane's user-data in a virtual machine whose kernel enforces SELinux: Debian's
// policy, and the rules of Red Hat's policy for HAProxy and keepalived (hack/devcloud/selinux/machine.cil).
func TestSELinuxEnforces(t *testing.T) {
	m := controlPlaneMachine()
	m.PKI, m.Inputs.PKI = nil, nil
	for name, content := range pki(t) {
		addPKI(&m, name, content)
	}
	config, err := configOf(m)
	require.NoError(t, err)
	files := map[string]string{
		"/etc/cloud/cloud.cfg.d/99_test.cfg": "datasource_list: [NoCloud]\n" +
			"system_info: {network: {renderers: [networkd]}}\n",
		"/etc/systemd/system/report.service": "[Service]\nStandardOutput=journal+console\n" +
			"StandardError=journal+console\nExecStart=/usr/local/sbin/report\n",
		"/etc/systemd/system/multi-user.target.d/r.conf": "[Unit]\n" +
			// Debian's policy does not let cloud-init's generator enable cloud-init.
			"Wants=report.service systemd-networkd.service cloud-init.target\n",
		"/etc/systemd/zram-generator.conf": "",
		"/usr/local/sbin/report":           enforcingReport,
	}
	maps.Copy(files, seed(string(config), "10.0.0.20/24", "10.0.0.2"))
	ours, others, states := boot(t, files)
	t.Log("denials of other programs, by Debian's policy:\n" + strings.Join(others, "\n"))
	t.Log("states:\n" + strings.Join(states, "\n"))
	require.Empty(t, ours, "denials of our units")
	require.Subset(t, states, []string{"Enforcing", "api-proxy active system_u:system_r:haproxy_t:s0",
		"etcd-proxy active system_u:system_r:haproxy_t:s0",
		"api-vip active system_u:system_r:keepalived_t:s0"})
}

// boot boots a virtual machine with the files. It returns the denials of the units with their own domains, those of
// other programs, and the other lines of its report.
func boot(t *testing.T, files map[string]string) (ours, others, states []string) {
	run := func(name string, arguments ...string) string {
		command := exec.CommandContext(t.Context(), name, arguments...)
		var stderr bytes.Buffer
		command.Stderr = &stderr
		out, err := command.Output()
		require.NoError(t, err, "%s: %s", command, &stderr)
		return strings.TrimSpace(string(out))
	}
	image := os.Getenv("SELINUX_IMAGE")
	if image == "" {
		image = run("go", "run", "kubernetes-openstack/hack/devcloud", "image", "selinux")
	}
	root, disk := filepath.Join(t.TempDir(), "root"), filepath.Join(t.TempDir(), "disk")
	run("unsquashfs", "-quiet", "-no-progress", "-dest", root, image)
	for name, content := range files {
		path := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o755))
	}
	run("unshare", "--mount", "sh", "-euc", `mount -t proc proc "$0/proc"
		chroot "$0" setfiles -F /etc/selinux/default/contexts/files/file_contexts /`, root)
	run("mkfs.ext4", "-q", "-d", root, disk, "3G")
	kernel, err := filepath.Glob(root + "/boot/vmlinuz-*")
	require.NoError(t, err)
	require.Len(t, kernel, 1)

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	begin := time.Now()
	qemu := exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2",
		"-m", "1536", "-nographic", "-no-reboot",
		"-kernel", kernel[0], "-initrd", strings.Replace(kernel[0], "vmlinuz", "initrd.img", 1),
		"-append", "root=/dev/vda rw console=ttyS0 net.ifnames=0 security=selinux enforcing=1 audit=1 "+
			"audit_backlog_limit=8192 printk.devkmsg=on",
		"-drive", "file="+disk+",format=raw,if=virtio,cache=unsafe",
		"-netdev", "user,id=network,net=10.0.0.0/24,restrict=on", "-device", "virtio-net,netdev=network",
	)
	console, err := os.Create(filepath.Join(os.TempDir(), "e2e-selinux.log"))
	require.NoError(t, err)
	defer console.Close()
	t.Log("the console is in ", console.Name())
	qemu.Stdout, qemu.Stderr = console, console
	qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	ended := qemu.Run()
	out, err := os.ReadFile(console.Name())
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	t.Logf("the machine ran for %.0f s, last line: %s", time.Since(begin).Seconds(), lines[len(lines)-1])
	for _, denial := range denied.FindAllString(string(out), -1) {
		t.Log(denial)
	}
	require.NoError(t, ended)
	for _, line := range regexp.MustCompile(`(?m)report: (.*?)\r?$`).FindAllStringSubmatch(string(out), -1) {
		switch denial := denied.FindStringSubmatch(line[1]); {
		case denial == nil:
			states = append(states, line[1])
		case slices.Contains([]string{"haproxy_t", "keepalived_t"}, denial[3]):
			ours = append(ours, line[1])
		default:
			others = append(others, strings.Join(denial[1:], " "))
		}
	}
	slices.Sort(others)
	return ours, slices.Compact(others), states
}

// denied finds the permission, the program, both types and the class of a denial.
var denied = regexp.MustCompile(`denied  (\{.*?\}).* comm="(.*?)".* scontext=\w+:\w+:(\w+):.* tcontext=\w+:\w+:(\w+):` +
	`.* tclass=(\w+)`)
