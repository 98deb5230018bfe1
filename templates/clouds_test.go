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
	out, err := guest.Run(t, files, "sh", "-c", `
		set -eu
		trust-artifacts-ca >/dev/null
		openssl verify -CAfile /etc/ssl/certs/ca-certificates.crt /etc/artifacts-ca.crt
	`)
	require.NoError(t, err, out)
	require.Contains(t, out, "/etc/artifacts-ca.crt: OK\n")
}
