package guest_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"kubernetes-openstack/tests/guest"
)

func TestRunLeavesNothingBehind(t *testing.T) {
	out, err := guest.Run(t, map[string]string{"/usr/local/bin/hello": "#!/bin/sh\necho hello from $(cat /etc/name)\n", "/etc/name": "guest"},
		"sh", "-c", "hello; echo changed >/etc/name; hello; sleep 60 & test -e /usr/bin/cloud-init")
	require.NoError(t, err, out) // had the sleep survived, it would hold the output open
	require.Equal(t, "hello from guest\nhello from changed\n", out)

	out, err = guest.Run(t, nil, "sh", "-c", "cat /etc/name; exit 3")
	require.ErrorContains(t, err, "exit status 3")
	require.Contains(t, out, "No such file", "a run sees what an earlier one wrote")

	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	require.NotContains(t, string(mounts), t.Name())
}
