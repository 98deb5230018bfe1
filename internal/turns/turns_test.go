package turns

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// soon is a duration in which a test can take a free turn.
const soon = 200 * time.Millisecond

// taken takes a turn and ends it at once. It sends the time of the turn on the channel.
func taken(t *testing.T, take func(testing.TB) func()) <-chan time.Time {
	came := make(chan time.Time, 1)
	go func() {
		end := take(t)
		came <- time.Now()
		end()
	}()
	return came
}

func comes(t *testing.T, turn <-chan time.Time) time.Time {
	t.Helper()
	select {
	case at := <-turn:
		return at
	case <-time.After(20 * time.Second):
		require.Fail(t, "the turn never comes")
		return time.Time{}
	}
}

func waits(t *testing.T, turn <-chan time.Time) {
	t.Helper()
	select {
	case <-turn:
		require.Fail(t, "somebody else has a turn")
	case <-time.After(soon):
	}
}

// TestAloneWaitsForAll checks that steps run beside each other, and that a step that runs alone waits for all
// of them.
func TestAloneWaitsForAll(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	first, second := Beside(t), Beside(t)
	alone := taken(t, Alone)
	waits(t, alone)
	first()
	waits(t, alone)
	second()
	comes(t, alone)
}

// TestNobodyIsBesideAlone checks that no step runs beside a step that runs alone.
func TestNobodyIsBesideAlone(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	end := Alone(t)
	beside, alone := taken(t, Beside), taken(t, Alone)
	waits(t, beside)
	waits(t, alone)
	end()
	comes(t, beside)
	comes(t, alone)
}

// TestAloneInARow checks that consecutive steps that run alone go before steps that wait to run beside
// others. The latter run at the end.
func TestAloneInARow(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	end := Alone(t)
	beside := taken(t, Beside)
	for range 3 {
		waits(t, beside)
		end()
		end = Alone(t)
	}
	waits(t, beside)
	end()
	ended := time.Now()
	assert.GreaterOrEqual(t, comes(t, beside).Sub(ended), linger/2)
}

// TestAloneIsNotStarved checks that overlapping steps, of which one always runs, do not starve a step that
// waits to run alone.
func TestAloneIsNotStarved(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	var running atomic.Int32
	var streams sync.WaitGroup
	stop := make(chan struct{})
	for range 3 {
		streams.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				end := Beside(t)
				running.Add(1)
				time.Sleep(50 * time.Millisecond)
				running.Add(-1)
				end()
			}
		})
		time.Sleep(20 * time.Millisecond)
	}
	end := Alone(t)
	for range 20 {
		assert.Zero(t, running.Load())
		time.Sleep(10 * time.Millisecond)
	}
	end()
	close(stop)
	streams.Wait()
}

// TestTurnsOfProcesses checks that processes share turns, and that the turn of a killed process ends.
func TestTurnsOfProcesses(t *testing.T) {
	const other = "TURNS_TEST_OTHER"
	if os.Getenv(other) != "" {
		Alone(t)
		_, _ = os.Stdout.WriteString("taken\n")
		time.Sleep(time.Minute)
		return
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	process := exec.Command(os.Args[0], "-test.run", "^TestTurnsOfProcesses$")
	process.Env = append(os.Environ(), other+"=1")
	output, err := process.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, process.Start())
	line, err := bufio.NewReader(output).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "taken\n", line)

	beside := taken(t, Beside)
	waits(t, beside)
	require.NoError(t, process.Process.Kill())
	_ = process.Wait()
	comes(t, beside)
}

// log is a testing.TB that records its log lines.
type log struct {
	testing.TB
	lines []string
}

func (l *log) Logf(format string, args ...any) {
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

// TestWaitIsLogged checks that a step that waits logs how long it waited.
func TestWaitIsLogged(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	l := &log{TB: t}
	end := Alone(l)
	assert.Empty(t, l.lines)
	time.AfterFunc(soon, end)
	Beside(l)()
	require.Len(t, l.lines, 1)
	assert.Regexp(t, `^waited [1-9]\d*\.\d s for its turn$`, l.lines[0])
}
