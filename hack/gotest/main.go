// Command gotest is `go test` for .ci/run. It runs that with its own arguments and prints the same: all
// with -v, else what failed and a line for each package. The file that the environment variable STEPS names
// gets a line for each test: seconds, package, name.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func main() {
	code, err := run(os.Args[1:], os.Getenv("STEPS"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
	}
	os.Exit(code)
}

// run returns go test's exit code.
func run(args []string, file string) (code int, err error) {
	steps, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return 1, fmt.Errorf("STEPS must name a file that can be written: %w", err)
	}
	defer steps.Close()
	command := exec.Command("go", append([]string{"test", "-v"}, args...)...)
	command.Stderr = os.Stderr
	output, err := command.StdoutPipe()
	if err != nil {
		return 1, err
	}
	if err := command.Start(); err != nil {
		return 1, err
	}
	followed := follow(output, os.Stdout, steps, slices.Contains(args, "-v"))
	err = command.Wait()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return exit.ExitCode(), followed
	}
	if err = errors.Join(followed, err); err != nil {
		return 1, err
	}
	return 0, nil
}

var (
	testEnded    = regexp.MustCompile(`^ *--- (?:PASS|FAIL|SKIP): (\S+) \((\d+\.\d+)s\)\n$`)
	packageEnded = regexp.MustCompile(`^(ok  |FAIL|\?   )\t(\S+)`)
)

// follow reads what `go test -v` prints and prints it to out, unless verbose without what belongs to packages that
// passed. Each test's seconds, less those of its subtests, are a line of steps.
func follow(output io.Reader, out, steps io.Writer, verbose bool) error {
	var held strings.Builder
	seconds := map[string]float64{}
	for lines := bufio.NewReader(output); ; {
		line, err := lines.ReadString('\n')
		if err != nil && err != io.EOF {
			return err
		}
		ended := packageEnded.FindStringSubmatch(line)
		if ended != nil && ended[1] == "ok  " {
			held.Reset()
		}
		if ended != nil || err == io.EOF {
			fmt.Fprint(out, held.String())
			held.Reset()
		}
		if ended != nil || err == io.EOF || verbose {
			fmt.Fprint(out, line)
		} else {
			held.WriteString(line)
		}
		if err == io.EOF {
			return nil
		}
		if test := testEnded.FindStringSubmatch(line); test != nil {
			seconds[test[1]], _ = strconv.ParseFloat(test[2], 64)
		}
		if ended == nil {
			continue
		}
		if !strings.HasSuffix(line, "\t(cached)\n") {
			for test, own := range withoutParts(seconds) {
				fmt.Fprintf(steps, "%8.1f  %s  %s\n", own, ended[2], test)
			}
		}
		clear(seconds)
	}
}

// withoutParts subtracts from each test's seconds those of its subtests. A test whose subtests run in parallel takes as
// long as the longest: testing does not count the time in which it waits for them.
func withoutParts(seconds map[string]float64) map[string]float64 {
	own, whole, parts := map[string]float64{}, maps.Clone(seconds), map[string]float64{}
	longer := func(a, b string) int { return len(b) - len(a) }
	for _, test := range slices.SortedFunc(maps.Keys(seconds), longer) { // subtests first
		own[test] = max(0, whole[test]-parts[test])
		for i := strings.LastIndex(test, "/"); i > 0; i = strings.LastIndex(test[:i], "/") {
			of := test[:i]
			if _, ok := seconds[of]; ok { // else the name itself has a slash
				whole[of], parts[of] = max(whole[of], whole[test]), parts[of]+whole[test]
				break
			}
		}
	}
	return own
}
