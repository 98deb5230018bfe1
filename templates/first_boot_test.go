package templates

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubernetes-openstack/tests/guest"
)

// TestFirstBoot checks that first-boot syncs all files, then enables and starts the units at the first boot, and does
// nothing at the next one. If it was interrupted, it starts over.
func TestFirstBoot(t *testing.T) {
	files := filesOf(t, workerMachine())
	files["/usr/local/sbin/systemctl"] = "#!/bin/sh\necho \"systemctl $*\"\n"
	files["/usr/local/sbin/systemd-detect-virt"] = "#!/bin/sh\nexit 1\n"
	files["/usr/local/sbin/nft"] = "#!/bin/sh\necho \"nft $*\"\n"
	files["/usr/local/sbin/journalctl"] = "#!/bin/sh\necho \"journalctl $*\"\n"
	files["/usr/local/sbin/swapoff"] = "#!/bin/sh\necho \"swapoff $*\"\n"
	files["/usr/local/sbin/sync"] = "#!/bin/sh\necho \"sync $*\"\n"
	out, err := guest.Run(t, files, "sh", "-ec", `
		mkdir -p /var/lib/cloud/instance
		first-boot a.service b.timer
		echo reboot
		first-boot a.service b.timer
		rm /var/lib/cloud/instance/first-boot
		first-boot a.service b.timer | sed -n 3p`)
	const units = "firewalld.service ufw.service nm-cloud-setup.service nm-cloud-setup.timer swap.target " +
		"haproxy.service keepalived.service"
	out = strings.ReplaceAll(out, units, "UNITS")
	require.NoError(t, err, out)
	require.Equal(t, `sync --file-system /
sync /var/lib/cloud/instance/files-synced /var/lib/cloud/instance/
systemctl restart systemd-journald.service
journalctl --flush
systemctl daemon-reload
systemctl enable a.service b.timer
systemctl stop UNITS
systemctl mask UNITS
nft delete table inet firewalld
swapoff --all
systemctl restart systemd-modules-load.service systemd-sysctl.service
systemctl --quiet is-active NetworkManager.service
systemctl reload NetworkManager.service
systemctl --quiet is-active multipathd.service
systemctl reload multipathd.service
systemctl try-restart systemd-networkd.service
systemctl start --no-block a.service b.timer
sync /var/lib/cloud/instance/first-boot /var/lib/cloud/instance/
reboot
systemctl daemon-reload
`, out)
}
