package templates

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"kubernetes-openstack/tests/guest"
)

// fakeSystem is the machine as bootstrap-report sees it. systemctl and journalctl print files in /run/fake.
// Each sleep of bootstrap-report starts the next stage, and after the last stage bootstrap-report ends.
var fakeSystem = map[string]string{
	"/usr/local/sbin/systemctl": `#!/bin/sh
case $* in *UserspaceTimestamp*) echo 0; exit ;; esac
for unit; do
    case $unit in *.service) cat "/run/fake/$unit"; echo ;; esac
done
`,
	"/usr/local/sbin/journalctl": `#!/bin/sh
for argument; do
    case $argument in
    --lines=*) lines=${argument#--lines=} ;;
    _SYSTEMD_UNIT=*) file=/run/fake/${argument#_SYSTEMD_UNIT=}.log ;;
    _SYSTEMD_INVOCATION_ID=*) file=/run/fake/${argument#_SYSTEMD_INVOCATION_ID=}.log ;;
    --unit=*) file=/run/fake/${argument#--unit=}.systemd ;;
    esac
done
[ ! -e "$file" ] || tail -n "$lines" "$file"
`,
	"/usr/local/sbin/sleep": `#!/bin/sh
stage=$(($(cat /run/fake/stage) + 1))
echo "$stage" >/run/fake/stage
. /functions
if [ -e "/stages/$stage" ]; then . "/stages/$stage"; else kill -KILL "$PPID"; fi
`,
	// is NAME ACTIVE/SUB TYPE [RESTARTS [SINCE]]
	"/functions": `
is() {
    printf '%s\n' "Id=$1.service" "Type=$3" "NRestarts=${4:-0}" "ActiveState=${2%/*}" "SubState=${2#*/}" \
        "StateChangeTimestampMonotonic=${5:-0}" "InvocationID=$1.service" >"/run/fake/$1.service"
}
logs() { unit=$1; shift; printf '%s\n' "$@" >>"/run/fake/$unit.service.log"; }
now=999999999999999
`,
	"/usr/local/sbin/check-etcd": "#!/bin/sh\n[ ! -e /run/fake/no-quorum ] || { cat /run/fake/no-quorum; exit 1; }\n",
	"/usr/local/sbin/check-kube-scheduler": "#!/bin/sh\n" +
		"[ ! -e /run/fake/no-scheduler ] || { cat /run/fake/no-scheduler; exit 1; }\n" +
		"[ ! -e /run/fake/notice ] || cat /run/fake/notice\n",
	"/usr/local/sbin/check-kube-proxy": "#!/bin/sh\n",
	"/usr/local/sbin/check-node": "#!/bin/sh\n" +
		"[ ! -e /run/fake/not-ready ] || { cat /run/fake/not-ready; exit 1; }\n",
}

func TestBootstrapReport(t *testing.T) {
	t.Parallel()
	const ready = "bootstrap: ready after N s\n"
	for name, test := range map[string]struct {
		steps  string
		stages []string
		want   string // after the line of the boot; N for seconds
	}{
		"no failures": {
			steps: "artifacts etcd-volume",
			stages: []string{
				"is artifacts activating/start oneshot 0 $now; is etcd-volume inactive/dead oneshot",
				"is artifacts active/exited oneshot; is etcd-volume activating/start oneshot 0 $now",
				"is etcd-volume active/exited oneshot",
				"",
			},
			want: "bootstrap: artifacts: started\n" +
				"bootstrap: artifacts: done after N s\n" +
				"bootstrap: etcd-volume: started\n" +
				"bootstrap: etcd-volume: done after N s\n" + ready,
		},
		"fails repeatedly, and recovers": {
			steps: "artifacts",
			stages: []string{
				"is artifacts activating/auto-restart oneshot 1; logs artifacts 'first 1' 'broken at 12:01'",
				"is artifacts activating/start oneshot 1 $now",
				"is artifacts activating/auto-restart oneshot 2; logs artifacts 'broken at 12:02'",
				"is artifacts activating/auto-restart oneshot 3; logs artifacts 'broken otherwise'",
				"is artifacts active/exited oneshot 3",
			},
			want: "bootstrap: artifacts: started\n" +
				"bootstrap: artifacts: failing: broken at 12:01\n" +
				"bootstrap: log: first 1\n" +
				"bootstrap: log: broken at 12:01\n" +
				"bootstrap: artifacts: done after N s\n" + ready,
		},
		"only the first unfinished step has a reason": {
			steps: "artifacts etcd-proxy",
			stages: []string{
				"is artifacts failed/failed oneshot; logs artifacts 404; is etcd-proxy activating/auto-restart simple 1; logs " +
					"etcd-proxy missing",
				"is artifacts active/exited oneshot",
			},
			want: "bootstrap: artifacts: started\n" +
				"bootstrap: artifacts: failing: 404\n" +
				"bootstrap: log: 404\n" +
				"bootstrap: etcd-proxy: started\n" +
				"bootstrap: artifacts: done after N s\n" +
				"bootstrap: etcd-proxy: failing: missing\n" +
				"bootstrap: log: missing\n",
		},
		"a daemon ends between two iterations": {
			steps: "etcd-proxy",
			stages: []string{
				"is etcd-proxy active/running simple 0 $now",
				"is etcd-proxy active/running simple 1 $now; logs etcd-proxy 'no such flag'",
				"is etcd-proxy active/running simple 2 $now; logs etcd-proxy 'starting'",
				"is etcd-proxy active/running simple 1",
			},
			want: "bootstrap: etcd-proxy: started\n" +
				"bootstrap: etcd-proxy: failing: no such flag\n" +
				"bootstrap: log: no such flag\n" +
				"bootstrap: etcd-proxy: done after N s\n" + ready,
		},
		"a unit is stopped and started": {
			steps: "etcd-proxy containerd",
			stages: []string{
				"is etcd-proxy active/running notify; is containerd active/running notify",
				"is etcd-proxy inactive/dead notify",
				"is etcd-proxy active/running notify",
				"",
			},
			want: "bootstrap: etcd-proxy: started\n" +
				"bootstrap: etcd-proxy: done after N s\n" +
				"bootstrap: containerd: started\n" +
				"bootstrap: containerd: done after N s\n" + ready +
				"bootstrap: etcd-proxy: waiting: it was stopped\n" +
				"bootstrap: etcd-proxy: done after N s\n" + ready,
		},
		"a unit restarts before its log is read": {
			steps: "containerd",
			stages: []string{"is containerd activating/auto-restart notify 1; sed -i s/^Inv.*/InvocationID=first/ " +
				"/run/fake/containerd.service\n" +
				"echo panic >/run/fake/first.log; logs containerd panic starting"},
			want: "bootstrap: containerd: started\n" +
				"bootstrap: containerd: failing: panic\n" +
				"bootstrap: log: panic\n",
		},
		"a unit has no executable": {
			steps: "containerd",
			stages: []string{
				"is containerd activating/auto-restart notify 1; echo 'Unable to locate executable' " +
					">/run/fake/containerd.service.systemd",
			},
			want: "bootstrap: containerd: started\n" +
				"bootstrap: containerd: failing: Unable to locate executable\n" +
				"bootstrap: log: Unable to locate executable\n",
		},
		"no quorum": {
			steps: "etcd",
			stages: []string{
				"is etcd activating/start notify; echo 'no quorum, no answer from dev-etcd-1 dev-etcd-2' >/run/fake/no-quorum",
				"",
				"echo 'no quorum, no answer from dev-etcd-2' >/run/fake/no-quorum",
				"is etcd active/running notify; rm /run/fake/no-quorum",
			},
			want: "bootstrap: etcd: started\n" +
				"bootstrap: etcd: waiting: no quorum, no answer from dev-etcd-1 dev-etcd-2\n" +
				"bootstrap: etcd: waiting: no quorum, no answer from dev-etcd-2\n" +
				"bootstrap: etcd: done after N s\n" + ready,
		},
		"a daemon that does not notify": {
			steps: "kube-scheduler etcd-proxy",
			stages: []string{
				"echo no >/run/fake/no-scheduler; is kube-scheduler active/running simple 0 $now; is etcd-proxy active/running " +
					"simple 0 $now",
				"rm /run/fake/no-scheduler",
				"is etcd-proxy active/running simple",
				"",
			},
			want: "bootstrap: kube-scheduler: started\n" +
				"bootstrap: etcd-proxy: started\n" +
				"bootstrap: kube-scheduler: done after N s\n" +
				"bootstrap: etcd-proxy: done after N s\n" + ready,
		},
		"a unit logs what it waits for": {
			steps: "kubelet",
			stages: []string{
				"is kubelet activating/start-pre notify; logs kubelet 'no apiserver is ready'",
				"is kubelet active/running notify",
			},
			want: "bootstrap: kubelet: started\n" +
				"bootstrap: kubelet: waiting: no apiserver is ready\n" +
				"bootstrap: kubelet: done after N s\n" + ready,
		},
		"the Node starts after kubelet": {
			steps: "kubelet kube-proxy node",
			stages: []string{
				"echo 'not Ready: no network' >/run/fake/not-ready; is kubelet inactive/dead notify; is kube-proxy " +
					"active/running simple",
				"is kubelet active/running notify",
				"",
				"rm /run/fake/not-ready",
			},
			want: "bootstrap: kube-proxy: started\n" +
				"bootstrap: kube-proxy: done after N s\n" +
				"bootstrap: kubelet: started\n" +
				"bootstrap: kubelet: done after N s\n" +
				"bootstrap: node: started\n" +
				"bootstrap: node: waiting: not Ready: no network\n" +
				"bootstrap: node: done after N s\n" + ready,
		},
		"a notice disappears and appears again": {
			steps: "kube-scheduler",
			stages: []string{
				"echo no session >/run/fake/notice; is kube-scheduler active/running simple",
				"",
				"rm /run/fake/notice",
				"",
				"echo no session >/run/fake/notice",
				"is kube-scheduler activating/auto-restart simple 1; logs kube-scheduler panic",
				"is kube-scheduler active/running simple 1",
				"",
			},
			want: "bootstrap: kube-scheduler: started\n" +
				"bootstrap: kube-scheduler: done after N s\n" +
				"bootstrap: kube-scheduler: notice: no session\n" + ready +
				"bootstrap: kube-scheduler: done after N s\n" +
				"bootstrap: kube-scheduler: notice: no session\n" +
				"bootstrap: kube-scheduler: failing: panic\n" +
				"bootstrap: log: panic\n" +
				"bootstrap: kube-scheduler: done after N s\n" +
				"bootstrap: kube-scheduler: notice: no session\n" + ready,
		},
		"a finished step fails, and recovers": {
			steps: "etcd",
			stages: []string{
				"is etcd active/running notify",
				"is etcd activating/auto-restart notify 1; logs etcd panic",
				"is etcd active/running notify 1",
				"",
			},
			want: "bootstrap: etcd: started\n" +
				"bootstrap: etcd: done after N s\n" + ready +
				"bootstrap: etcd: failing: panic\n" +
				"bootstrap: log: panic\n" +
				"bootstrap: etcd: done after N s\n" + ready,
		},
		"systemd does not respond": {
			steps: "etcd",
			stages: []string{
				"echo >/run/fake/etcd.service",
				"is etcd active/running notify",
			},
			want: "bootstrap: etcd: started\nbootstrap: etcd: done after N s\n" + ready,
		},
		"no control characters on the console": {
			steps: "artifacts",
			stages: []string{
				`is artifacts failed/failed oneshot; printf 'red \033[31m and \r gone\n' >/run/fake/artifacts.service.log`,
			},
			want: "bootstrap: artifacts: started\n" +
				"bootstrap: artifacts: failing: red [31m and  gone\n" +
				"bootstrap: log: red [31m and  gone\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := filesOf(t, machines()["worker"])
			for path, content := range fakeSystem {
				files[path] = content
			}
			for i, stage := range test.stages {
				files[fmt.Sprintf("/stages/%d", i)] = stage + "\n"
			}
			out, err := guest.Run(t, files, "sh", "-c", `
				mkdir /run/fake; echo 0 >/run/fake/stage; . /functions; . /stages/0
				(bootstrap-report `+test.steps+`; true) >/output 2>/errors
				grep -vx Killed /errors; grep -v '^bootstrap: boot ' /dev/console; diff /output /dev/console`)
			require.NoError(t, err, out)
			out = regexp.MustCompile(`after \d+ s\n`).ReplaceAllString(out, "after N s\n")
			require.Equal(t, test.want, out)
		})
	}
}
