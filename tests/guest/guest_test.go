package guest_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubernetes-openstack/tests/guest"
)

func TestRunRemovesItsFiles(t *testing.T) {
	out, err := guest.Run(t,
		map[string]string{"/usr/local/bin/hello": "#!/bin/sh\necho hello from $(cat /etc/name)\n", "/etc/name": "guest"},
		"sh", "-c", "hello; echo changed >/etc/name; hello; sleep 60 & test -e /usr/bin/cloud-init")
	require.NoError(t, err, out) // a surviving sleep would hold the output open
	require.Equal(t, "hello from guest\nhello from changed\n", out)

	out, err = guest.Run(t, nil, "sh", "-c", "cat /etc/name; exit 3")
	require.ErrorContains(t, err, "exit status 3")
	require.Contains(t, out, "No such file", "a run must not see files of an earlier run")

	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	require.NotContains(t, string(mounts), "/dev/shm/")
	image, err := guest.ImageMount()
	require.NoError(t, err)
	runs, err := os.ReadDir(image + "/../runs")
	require.NoError(t, err)
	require.Empty(t, runs)
}

// TestRunsAreIsolated checks that parallel runs share large files, but see no changes of another run.
func TestRunsAreIsolated(t *testing.T) {
	files := map[string]string{"/large": strings.Repeat("0123456789abcdef", 1<<17),
		"/usr/local/bin/large": strings.Repeat("# a comment\n", 1<<17)}
	for i := range 4 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			out, err := guest.Run(t, files, "sh", "-c", fmt.Sprintf(
				`wc -c </large; stat -c %%a /large /usr/local/bin/large; large; echo %d >>/large; sleep 0.5; tail -c 2 /large; `+
					`wc -c </large`, i))
			require.NoError(t, err, out)
			require.Equal(t, fmt.Sprintf("2097152\n644\n755\n%d\n2097154\n", i), out)
		})
	}
}

// TestMountsEndWithTheProcess checks that the image is unmounted after the process that mounted it is
// killed.
func TestMountsEndWithTheProcess(t *testing.T) {
	const killed = "TEST_PROCESS_TO_KILL"
	if os.Getenv(killed) != "" {
		mount, err := guest.ImageMount()
		require.NoError(t, err)
		fmt.Println(mount)
		time.Sleep(time.Minute)
	}
	process := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	process.Env = append(os.Environ(), killed+"=yes")
	output, err := process.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, process.Start())
	mount, err := bufio.NewReader(output).ReadString('\n')
	require.NoError(t, err)
	mount = strings.TrimSpace(mount)
	require.DirExists(t, mount+"/etc")
	require.NoError(t, process.Process.Kill())
	require.Error(t, process.Wait())
	require.Eventually(t, func() bool {
		_, err := os.Stat(mount)
		return os.IsNotExist(err)
	}, time.Minute, 10*time.Millisecond, mount)
}
