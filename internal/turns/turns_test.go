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

// shortWait is a duration in which a test can take a free turn.
const shortWait = 200 * time.Millisecond

// taken takes a turn and ends it at once. It sends the time of the turn on the channel.
func taken(t *testing.T, take func(testing.TB) func()) <-chan time.Time {
	started := make(chan time.Time, 1)
	go func() {
		end := take(t)
		started <- time.Now()
		end()
	}()
	return started
}

func requireTurn(t *testing.T, turn <-chan time.Time) time.Time {
	t.Helper()
	select {
	case at := <-turn:
		return at
	case <-time.After(20 * time.Second):
		require.Fail(t, "no turn after 20 s")
		return time.Time{}
	}
}

func requireWait(t *testing.T, turn <-chan time.Time) {
	t.Helper()
	select {
	case <-turn:
		require.Fail(t, "the turn must wait for another one")
	case <-time.After(shortWait):
	}
}

// TestExclusiveWaitsForAll checks that shared turns run in parallel, and that an exclusive turn waits for all of
// them.
func TestExclusiveWaitsForAll(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	first, second := Shared(t), Shared(t)
	exclusive := taken(t, Exclusive)
	requireWait(t, exclusive)
	first()
	requireWait(t, exclusive)
	second()
	requireTurn(t, exclusive)
}

// TestSharedWaitsForExclusive checks that no other turn runs during an exclusive turn.
func TestSharedWaitsForExclusive(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	end := Exclusive(t)
	shared, exclusive := taken(t, Shared), taken(t, Exclusive)
	requireWait(t, shared)
	requireWait(t, exclusive)
	end()
	requireTurn(t, shared)
	requireTurn(t, exclusive)
}

// TestConsecutiveExclusive checks that consecutive exclusive turns go before waiting shared turns.
func TestConsecutiveExclusive(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	end := Exclusive(t)
	shared := taken(t, Shared)
	for range 3 {
		requireWait(t, shared)
		end()
		end = Exclusive(t)
	}
	requireWait(t, shared)
	end()
	ended := time.Now()
	assert.GreaterOrEqual(t, requireTurn(t, shared).Sub(ended), queueDelay/2)
}

// TestExclusiveIsNotStarved checks that overlapping shared turns, of which one always runs, do not starve an
// exclusive turn.
func TestExclusiveIsNotStarved(t *testing.T) {
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
				end := Shared(t)
				running.Add(1)
				time.Sleep(50 * time.Millisecond)
				running.Add(-1)
				end()
			}
		})
		time.Sleep(20 * time.Millisecond)
	}
	end := Exclusive(t)
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
		Exclusive(t)
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

	shared := taken(t, Shared)
	requireWait(t, shared)
	require.NoError(t, process.Process.Kill())
	_ = process.Wait()
	requireTurn(t, shared)
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
	end := Exclusive(l)
	assert.Empty(t, l.lines)
	time.AfterFunc(shortWait, end)
	Shared(l)()
	require.Len(t, l.lines, 1)
	assert.Regexp(t, `^waited [1-9]\d*\.\d s for a turn$`, l.lines[0])
}
