// Command timeline runs a command and draws a timeline of its steps. Each step in the command's output is a
// bar. The usage of the machine's processors is above the bars.
//
//	go run ./hack/timeline FILE.svg COMMAND...
//
// A step is a Pulumi resource, a step of a machine's boot, a test, or a step of toolchain and devcloud.
// timeline also prints the command's output.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: timeline FILE.svg COMMAND...")
		os.Exit(2)
	}
	r, err := record(os.Args[2:], os.Stdout)
	if saved := os.WriteFile(os.Args[1], []byte(r.svg()), 0o644); err == nil {
		err = saved
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "timeline:", err)
		os.Exit(1)
	}
}

// run is the record of a finished command.
type run struct {
	title string
	steps steps
	busy  []busy
	end   float64
}

// busy is the share of all processors' time that was used, from 0 to 1, and the time in seconds at which it
// was measured.
type busy struct{ at, share float64 }

// record runs a command, copies all its output to out, and returns its record.
func record(command []string, out io.Writer) (run, error) {
	begin := time.Now()
	since := func() float64 { return time.Since(begin).Seconds() }
	r := run{}
	cmd := exec.Command(command[0], command[1:]...)
	read, write, err := os.Pipe()
	if err != nil {
		return r, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, write, write
	first := processors()
	if err := cmd.Start(); err != nil {
		return r, err
	}
	write.Close()
	lines, scanner := make(chan string), bufio.NewScanner(read)
	scanner.Buffer(nil, 1<<20)
	go func() {
		for scanner.Scan() {
			lines <- scanner.Text()
		}
		close(lines)
	}()
	last, tick := first, time.NewTicker(time.Second)
	defer tick.Stop()
	for open := true; open; {
		var line string
		select {
		case line, open = <-lines:
			if open {
				fmt.Fprintln(out, line)
				r.steps.add(line, since())
			}
		case <-tick.C:
			now := processors()
			r.busy = append(r.busy, busy{since(), now.share(last)})
			last = now
		}
	}
	err = cmd.Wait()
	r.end = since()
	all := processors()
	commit, _ := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	r.title = fmt.Sprintf("%s: %.0f s, %.0f s of %d processors' time; %s, commit %s", strings.Join(command, " "), r.end,
		float64(all.used-first.used)/100, runtime.NumCPU(), begin.Format(time.DateOnly), strings.TrimSpace(string(commit)))
	return r, err
}

// ticks are the times of all processors since the kernel started, in hundredths of a second.
type ticks struct{ used, all uint64 }

// processors reads the first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal.
func processors() ticks {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return ticks{}
	}
	line, _, _ := strings.Cut(string(stat), "\n")
	var n [8]uint64
	_, _ = fmt.Sscanf(line, "cpu %d %d %d %d %d %d %d %d", &n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &n[7])
	used := n[0] + n[1] + n[2] + n[5] + n[6]
	return ticks{used, used + n[3] + n[4] + n[7]}
}

func (t ticks) share(before ticks) float64 {
	return float64(t.used-before.used) / float64(max(1, t.all-before.all))
}
