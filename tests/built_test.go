package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// builds has a function for each built program of cmd, by name. It returns the path of the program.
var builds sync.Map

// TestMain deletes the built programs after all tests.
func TestMain(m *testing.M) {
	code := m.Run()
	builds.Range(func(_, build any) bool {
		if program, err := build.(func() (string, error))(); err == nil {
			_ = os.RemoveAll(filepath.Dir(program))
		}
		return true
	})
	os.Exit(code)
}

// built returns the path of a program of cmd, alone in its folder. Tests share it, because its link takes longer than
// most of its runs.
func built(t testing.TB, name string) string {
	t.Helper()
	build, _ := builds.LoadOrStore(name, sync.OnceValues(func() (string, error) {
		folder, err := os.MkdirTemp("", "")
		if err != nil {
			return "", err
		}
		program := filepath.Join(folder, name)
		out, err := exec.Command("go", "build", "-o", program, "../cmd/"+name).CombinedOutput()
		if err != nil {
			_ = os.RemoveAll(folder)
			return "", fmt.Errorf("%w: %s", err, out)
		}
		return program, nil
	}))
	program, err := build.(func() (string, error))()
	require.NoError(t, err)
	return program
}
