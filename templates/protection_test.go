package templates

import (
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/tests/guest"
)

const unitFolder = "/etc/systemd/system/"

// property returns all words of a property of a unit.
func property(unit, name string) []string {
	var words []string
	for line := range strings.Lines(strings.ReplaceAll(unit, "\\\n", "")) {
		if value, found := strings.CutPrefix(line, name+"="); found {
			words = append(words, strings.Fields(value)...)
		}
	}
	return words
}

// TestUnitsWaitForTheirProtection checks that no unit starts while one of its protections is missing, not even when
// the protection has failed. kubelet is the only unit that starts containers.
func TestUnitsWaitForTheirProtection(t *testing.T) {
	for unit, protections := range map[string][]string{
		"kubelet.service":       {"os-packages.service", "metadata-filter.service"},
		"containerd.service":    {"os-packages.service"}, // container-selinux
		"node-approver.service": {"cluster-resources.service"},
	} {
		found := false
		for role, m := range machines() {
			text, exists := filesOf(t, m)[unitFolder+unit]
			if !exists {
				continue
			}
			found = true
			_, waits, _ := strings.Cut(text, "\nExecStartPre=/usr/local/sbin/wait-for-unit ")
			waits, _, _ = strings.Cut(waits, "\n")
			for _, protection := range protections {
				require.Contains(t, property(text, "Wants"), protection, "%s of %s", unit, role)
				require.Contains(t, property(text, "After"), protection, "%s of %s", unit, role)
				require.Contains(t, strings.Fields(waits), protection, "%s of %s", unit, role)
			}
		}
		require.True(t, found, unit)
	}
}

// TestUnitsWaitForTheirPrograms checks that no unit starts a downloaded program, itself or in a script,
// before install-artifacts has verified it since the boot. etcd-join waits for etcd-backup by itself: see
// TestEtcdBackupIsVerifiedBeforeItsFirstUse.
func TestUnitsWaitForTheirPrograms(t *testing.T) {
	needs := map[string][]string{ // programs that a program starts, if the machine has them
		"kubelet":     {"containerd", "runc", "cni-plugins"},
		"etcd-backup": {"etcd"},
		"etcd-join":   {"etcd"},
	}
	for role, least := range map[string]int{"control-plane": 6, "worker": 5, "etcd": 2, "etcd-backup": 3} {
		m := machines()[role]
		files := filesOf(t, m)
		var tested int
		for name, text := range files {
			if path.Dir(name)+"/" != unitFolder {
				continue
			}
			commands := slices.Concat(property(text, "ExecStart"), property(text, "ExecStartPre"),
				property(text, "ExecStartPost"))
			started := strings.Join(commands, " ") + " "
			for _, script := range regexp.MustCompile(`/usr/local/sbin/\S+`).FindAllString(started, -1) {
				started += "\n" + scripts(files, script)
			}
			for _, a := range m.Artifacts {
				uses := strings.Contains(started, "/usr/local/bin/"+a.Name+" ")
				if a.Name == "calicoctl" || a.Name == "kubectl" { // scripts use them too
					uses = uses || strings.Contains(started, " "+a.Name+" ") || strings.Contains(started, "\n"+a.Name+" ")
				}
				if !uses {
					continue
				}
				tested++
				_, waits, _ := strings.Cut(text, "\nExecStartPre=/usr/local/sbin/wait-for-artifact ")
				waits, _, _ = strings.Cut(waits, "\n")
				for _, artifact := range append(needs[a.Name], a.Name) {
					if slices.ContainsFunc(m.Artifacts, func(a cluster.Artifact) bool { return a.Name == artifact }) {
						require.Contains(t, strings.Fields(waits), artifact, "%s of %s", name, role)
					}
				}
			}
		}
		require.GreaterOrEqual(t, tested, least, role)
	}
}

// scripts returns the text of a script, and of the scripts that it starts, without their messages.
func scripts(files map[string]string, name string) string {
	text := regexp.MustCompile(`"[^"\n]*"`).ReplaceAllString(files[name], "")
	for other := range files {
		if other != name && path.Dir(other) == "/usr/local/sbin" && strings.Contains(text, path.Base(other)+" ") {
			text += files[other]
		}
	}
	return text
}

// TestWaitForUnit checks that wait-for-unit waits for each unit, and prints which one.
func TestWaitForUnit(t *testing.T) {
	t.Parallel()
	files := filesOf(t, workerMachine())
	files["/usr/local/sbin/systemctl"] = "#!/bin/sh\n[ -e \"/active/$3\" ]\n"
	out, err := guest.Run(t, files, "sh", "-euc", `
		mkdir /active
		touch /active/a
		wait-for-unit a b c >/log &
		until [ -s /log ]; do sleep 0.1; done
		cat /log
		touch /active/c
		sleep 1; kill -0 $!
		touch /active/b
		wait $! && cat /log`)
	require.NoError(t, err, out)
	require.Equal(t, "waiting until b is active\nwaiting until b is active\n", out)
}

// TestStartEndsWithTheProcess checks that the start of a unit fails if its process ends before it is ready. systemd
// waits for ExecStartPost before it restarts an ended process, so a command that waits for an ended process would keep
// the unit from a restart forever.
func TestStartEndsWithTheProcess(t *testing.T) {
	t.Parallel()
	files, commands := map[string]string{}, map[string]string{}
	for _, m := range machines() {
		for name, text := range filesOf(t, m) {
			files[name] = text
			_, command, waits := strings.Cut(strings.ReplaceAll(text, "\\\n", ""), "\nExecStartPost=")
			if path.Dir(name)+"/" == unitFolder && waits && !slices.Contains(property(text, "Type"), "oneshot") {
				command, _, _ = strings.Cut(command, "\n")
				commands[path.Base(name)] = strings.TrimLeft(command, "+-!:@")
			}
		}
	}
	require.GreaterOrEqual(t, len(commands), 3)
	files["/usr/local/bin/etcd-join"] = built(t, "kubernetes-openstack/cmd/etcd-join")
	script := "sleep 0 & MAINPID=$!; export MAINPID; wait $MAINPID\nset -a; . /etc/etcd/etcd.env\n"
	want := ""
	for _, unit := range slices.Sorted(maps.Keys(commands)) {
		script += "timeout 20 " + commands[unit] + " >/dev/null 2>&1\necho " + unit + " $?\n"
		want += unit + " 1\n"
	}
	out, err := guest.Run(t, files, "unshare", "--net", "sh", "-c", script)
	require.NoError(t, err, out)
	require.Equal(t, want, out)
}
