package k8s

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/tenantsync"
)

// TestHostAddress checks that the user comes from the stack, and the address of OpenStack from this host.
// Machines may use another address.
func TestHostAddress(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	file := filepath.Join(dir, "ca.pem")
	require.NoError(t, os.WriteFile(file, []byte("PEM"), 0o600))
	require.NoError(t, os.WriteFile("clouds.yaml", []byte(`clouds:
  here:
    auth: {auth_url: "https://public:5000", username: operator, password: theirs, project_name: k}
    region_name: east
    interface: admin
    cacert: `+file+"\n"), 0o600))
	for _, name := range []string{"CLOUD", "AUTH_URL", "CACERT", "REGION_NAME", "INTERFACE", "CLIENT_CONFIG_FILE"} {
		t.Setenv("OS_"+name, "")
	}
	machines := tenantsync.Cloud{
		AuthURL: "http://internal:5000/v3", CA: "the machines'", Region: "west", Interface: "internal",
		Username: "reader", UserDomain: "Default", Password: "a password",
	}
	want := tenantsync.Cloud{Username: "reader", UserDomain: "Default", Password: "a password"}

	_, err := withHostAddress(machines)
	assert.ErrorContains(t, err, "auth_url")

	t.Setenv("OS_AUTH_URL", "https://keystone:5000/v3")
	got, err := withHostAddress(machines)
	require.NoError(t, err)
	want.AuthURL, want.Region, want.Interface = "https://keystone:5000/v3", "west", "public"
	assert.Equal(t, want, got)

	t.Setenv("OS_CLOUD", "here")
	got, err = withHostAddress(machines)
	require.NoError(t, err)
	want.AuthURL, want.CA, want.Region, want.Interface = "https://public:5000", "PEM", "east", "admin"
	assert.Equal(t, want, got)

	require.NoError(t, os.Remove(file))
	_, err = withHostAddress(machines)
	assert.ErrorContains(t, err, file)
}

func TestRetry(t *testing.T) {
	pause = 0
	var lines []string
	log := func(line string) error { lines = append(lines, line); return nil }
	fails := func(times int) (do func() error, calls *int) {
		calls = new(int)
		return func() error {
			if *calls++; *calls <= times {
				return errors.New("unexpected EOF")
			}
			return nil
		}, calls
	}

	do, calls := fails(2)
	assert.NoError(t, retry(t.Context(), log, do))
	assert.Equal(t, 3, *calls)
	assert.Equal(t, []string{"retry after: unexpected EOF", "retry after: unexpected EOF"}, lines)

	do, calls = fails(3)
	assert.EqualError(t, retry(t.Context(), log, do), "unexpected EOF")
	assert.Equal(t, 3, *calls)
}
