package templates

import (
	"testing"

	"github.com/stretchr/testify/require"

	"kubernetes-openstack/tests/guest"
)

// TestArtifactsCA checks that machines trust the CA of their mirrors before they download anything. curl and Go read
// the bundle.
func TestArtifactsCA(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "company")
	m := machines()["worker"]
	m.Plan.Artifacts.CACertificate = ca.text()
	files := filesOf(t, m)
	require.Contains(t, files["/etc/systemd/system/artifacts-ca.service"],
		"\nBefore=os-packages.service artifacts.service containerd.service\n")
	out, err := guest.Run(t, files, "sh", "-euc", `
		bundle=/etc/ssl/certs/ca-certificates.crt
		if command -v dnf >/dev/null; then
			bundle=/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem
			mkdir -p /etc/pki/ca-trust/source/anchors ${bundle%/*}
			# Debian has no package with it. On CentOS, it writes all anchors to the bundle.
			printf '#!/bin/sh\ncat /etc/pki/ca-trust/source/anchors/* >%s\n' $bundle >/usr/local/sbin/update-ca-trust
			chmod +x /usr/local/sbin/update-ca-trust
		fi
		if openssl verify -CAfile $bundle /etc/artifacts-ca.crt; then exit 1; fi
		trust-artifacts-ca >/dev/null
		openssl verify -CAfile $bundle /etc/artifacts-ca.crt
	`)
	require.NoError(t, err, out)
	require.Contains(t, out, "/etc/artifacts-ca.crt: OK\n")
}

// TestApplyNTPServers checks that only the client of NTP that runs is restarted.
func TestApplyNTPServers(t *testing.T) {
	t.Parallel()
	m := machines()["worker"]
	m.Plan.NTPServers = []string{"ntp.example.com"}
	files := filesOf(t, m)
	files["/usr/local/sbin/systemctl"] = "#!/bin/sh\ncase $* in\n*is-active*) [ \"$3\" = \"$(cat /active)\" ] ;;\n" +
		"*) echo \"$@\" ;;\nesac\n"
	out, err := guest.Run(t, files, "sh", "-euc", `
		for client in chronyd systemd-timesyncd none; do
			echo $client.service >/active
			apply-ntp-servers
		done
	`)
	require.NoError(t, err, out)
	require.Equal(t, "restart chronyd.service\nrestart systemd-timesyncd.service\n", out)
}
