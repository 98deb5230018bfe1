package templates

import (
	"os"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/tests/guest"
)

// TestCalicoPeers checks calico-peers with the output of BIRD 1.6.8 for established and for other sessions.
func TestCalicoPeers(t *testing.T) {
	t.Parallel()
	const established = `BIRD 1.6.8 ready.
name     proto    table    state  since       info
device1  Device   master   up     22:13:43    
Mesh_10_0_0_65 BGP      master   start  22:13:43    Connect       Socket: No route to host
Global_10_0_0_1 BGP      master   up     2026-11-22  Established   
`
	const noBIRD = "no BGP session with any peer: BIRD does not respond\n"
	files := map[string]string{}
	for _, script := range []string{"calico-peers", "check-calico-peers"} {
		content, err := os.ReadFile(path.Join("calico-node/usr/local/sbin", script))
		require.NoError(t, err)
		files["/usr/local/sbin/"+script] = string(content)
	}
	for output, want := range map[string]struct{ routers, all string }{
		established: {"", "no BGP session with 10.0.0.65: No route to host\n"},
		established + `Mesh_10_0_0_66 BGP      master   start  22:13:43    Connect       
Global_10_0_0_2 BGP      master   start  22:13:43    Connect       
Node_10_0_0_250 BGP      master   start  22:13:43    Connect       Socket: No route to host
Global_10_0_0_3_port_1179 BGP      master   start  22:13:43    Idle          BGP Error: Bad peer AS
Global_10_0_0_4 BGP      master   start  22:13:43    Active        Received: Administrative shutdown
`: {"no BGP session with 10.0.0.2: no answer (wrong or missing password?); 10.0.0.250: No route to host; " +
			"10.0.0.3: Bad peer AS; 10.0.0.4: Administrative shutdown\n",
			"no BGP session with 10.0.0.65: No route to host; 10.0.0.66: no answer; 10.0.0.2: no answer (wrong or missing " +
				"password?); 10.0.0.250: No route to host; 10.0.0.3: Bad peer AS; 10.0.0.4: Administrative shutdown\n"},
		"": {noBIRD, noBIRD},
	} {
		files["/usr/local/sbin/birdcl"] = "#!/bin/sh\n[ \"$*\" = 'show protocols' ] || exit 1\ncat <<'END'\n" +
			output + "END\n"
		if output == "" {
			files["/usr/local/sbin/birdcl"] = "#!/bin/sh\necho 'Unable to connect to server control socket'\nexit 1\n"
		}
		out, err := guest.Run(t, files, "calico-peers")
		assert.Equal(t, want.routers, out)
		assert.Equal(t, want.routers == "", err == nil)
		out, err = guest.Run(t, files, "calico-peers", "all")
		assert.Equal(t, want.all, out)
		assert.Error(t, err)
		out, err = guest.Run(t, files, "check-calico-peers")
		assert.Equal(t, want.routers, strings.TrimLeft(out, "\n"))
		assert.NoError(t, err)
	}
}

// TestInstallCNIConfig checks that install-cni-config waits for the BGP sessions, because a Node becomes Ready
// with the CNI configuration. A Ready Node gets pods, and these get requests through the other nodes.
func TestInstallCNIConfig(t *testing.T) {
	t.Parallel()
	guest.OnCentOS(t)
	files := filesOf(t, workerMachine())
	files["/usr/local/bin/systemctl"] = "#!/bin/sh\n"
	files["/usr/local/sbin/check-calico-felix"] = "#!/bin/sh\n"
	// The machine has all its sessions at the fourth call.
	files["/usr/local/sbin/calico-peers"] = `#!/bin/sh
echo "$@" >>/calls
[ -e /unreachable ] && echo "no BGP session with 10.0.0.65: No route to host" && exit 1
[ "$1" = all ] && [ "$(wc -l </calls)" -gt 3 ]
`
	out, err := guest.Run(t, files, "sh", "-ec", `
		ls /etc/cni/net.d 2>/dev/null || true
		install-cni-config && ls /etc/cni/net.d &&
			cmp /etc/calico/cni.conflist /etc/cni/net.d/10-calico.conflist && wc -l </calls
		touch /unreachable
		install-cni-config && wc -l </calls # after a restart of Felix
		mount -t tmpfs -o size=4k tmpfs /etc/cni/net.d # has no space for a second file
		cp /etc/calico/cni.conflist /etc/cni/net.d/10-calico.conflist
		install-cni-config && ls -A /etc/cni/net.d
		umount /etc/cni/net.d
		echo old >/etc/cni/net.d/10-calico.conflist # of an earlier version
		install-cni-config && cmp /etc/calico/cni.conflist /etc/cni/net.d/10-calico.conflist
		rm /etc/cni/net.d/*
		install-cni-config | uniq && ls /etc/cni/net.d
	`)
	require.NoError(t, err, out)
	assert.Equal(t, "10-calico.conflist\n4\n4\n10-calico.conflist\n"+
		"no BGP session with 10.0.0.65: No route to host\n10-calico.conflist\n", out)
}
