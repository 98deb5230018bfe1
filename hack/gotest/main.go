// Command gotest runs `go test` for .ci/run, with its own arguments. It prints the same output: everything
// with -v, otherwise the output of failures and one line for each package. For each test, it appends a line
// to the file in the environment variable STEPS. The line has the seconds, the package and the name.
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

// run runs go test and returns its exit code.
func run(args []string, file string) (code int, err error) {
	steps, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return 1, fmt.Errorf("STEPS: must be the path of a writable file: %w", err)
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
	copyErr := follow(output, os.Stdout, steps, slices.Contains(args, "-v"))
	err = command.Wait()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return exit.ExitCode(), copyErr
	}
	if err = errors.Join(copyErr, err); err != nil {
		return 1, err
	}
	return 0, nil
}

var (
	testEnded    = regexp.MustCompile(`^ *--- (?:PASS|FAIL|SKIP): (\S+) \((\d+\.\d+)s\)\n$`)
	packageEnded = regexp.MustCompile(`^(ok  |FAIL|\?   )\t(\S+)`)
)

// follow copies the output of `go test -v` to out. Unless verbose is set, it leaves out the output of
// packages that passed. It writes a line for each test to steps, with the test's seconds without those of its
// subtests.
func follow(output io.Reader, out, steps io.Writer, verbose bool) error {
	var held strings.Builder
	seconds := map[string]float64{}
	for lines := bufio.NewReader(output); ; {
		line, err := lines.ReadString('\n')
		if err != nil && err != io.EOF {
			return err
		}
		result := packageEnded.FindStringSubmatch(line)
		if result != nil && result[1] == "ok  " {
			held.Reset()
		}
		if result != nil || err == io.EOF {
			fmt.Fprint(out, held.String())
			held.Reset()
		}
		if result != nil || err == io.EOF || verbose {
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
		if result == nil {
			continue
		}
		if !strings.HasSuffix(line, "\t(cached)\n") {
			for test, own := range withoutParts(seconds) {
				fmt.Fprintf(steps, "%8.1f  %s  %s\n", own, result[2], test)
			}
		}
		clear(seconds)
	}
}

// withoutParts subtracts the seconds of subtests from the seconds of each test. A test with parallel subtests
// takes as long as its longest subtest. The reason is that package testing does not count the time in which a
// test waits for them.
func withoutParts(seconds map[string]float64) map[string]float64 {
	own, whole, parts := map[string]float64{}, maps.Clone(seconds), map[string]float64{}
	longer := func(a, b string) int { return len(b) - len(a) }
	for _, test := range slices.SortedFunc(maps.Keys(seconds), longer) { // subtests first
		own[test] = max(0, whole[test]-parts[test])
		for i := strings.LastIndex(test, "/"); i > 0; i = strings.LastIndex(test[:i], "/") {
			parent := test[:i]
			if _, ok := seconds[parent]; ok { // otherwise the name itself contains a slash
				whole[parent], parts[parent] = max(whole[parent], whole[test]), parts[parent]+whole[test]
				break
			}
		}
	}
	return own
}
