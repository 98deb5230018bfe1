package templates

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubernetes-openstack/tests/guest"
)

// fakeCtr is a fake ctr, with images that contain the files that calico-image needs.
const fakeCtr = `#!/bin/sh
[ "$1 $2" != "images pull" ] || echo "pulled $5" >>/pulled
[ "$1 $2" = "images mount" ] || exit 0
mkdir -p "$4/opt/cni/bin" "$4/etc/calico/confd/templates"
touch "$4/opt/cni/bin/calico" "$4/opt/cni/bin/calico-ipam"
echo '  if ( net ~ {{$cidr}} ) then { accept; }' >"$4/etc/calico/confd/templates/bird_ipam.cfg.template"
`

// TestCalicoImage checks that Calico starts before its programs are written to the disk. A machine that loses
// power before that installs them again at its next boot. Later boots need no registry.
func TestCalicoImage(t *testing.T) {
	t.Parallel()
	files := filesOf(t, workerMachine())
	files["/usr/local/bin/ctr"] = fakeCtr
	files["/usr/local/bin/restorecon"] = "#!/bin/sh\necho \"$@\" >>/labelled\n"
	files["/usr/local/bin/systemd-tmpfiles"] = "#!/bin/sh\n"
	files["/usr/local/bin/sync"] = "#!/bin/sh\nuntil [ -e /disk ]; do sleep 0.1; done\n"
	out, err := guest.Run(t, files, "sh", "-euc", `
		install() { calico-image 3.28.5 >/dev/null && echo "$1: pulled $(wc -l </pulled), $(ls /opt/calico/node)"; }
		install first
		touch /opt/calico/node/incomplete
		install "after a power loss"
		touch /disk
		until [ -e /opt/calico/node/.synced ]; do sleep 0.1; done
		touch /opt/calico/node/kept
		install "with all files on the disk"
		cat /labelled
		stat --format=%A /opt/calico/node/etc/calico/confd/config # has the passwords of routers
	`)
	require.NoError(t, err, out)
	require.Equal(t, "first: pulled 2, etc\nopt\nusr\nafter a power loss: pulled 4, etc\nopt\nusr\n"+
		"with all files on the disk: pulled 4, etc\nkept\nopt\nusr\n"+
		strings.Repeat("-RF /opt/calico /opt/cni/bin\n", 2)+"drwx------\n", out)
}
