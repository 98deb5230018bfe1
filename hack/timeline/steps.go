package main

import (
	"regexp"
	"strconv"
)

// step is a bar. begin and end are seconds since the start of the command. end is zero until the step ends.
type step struct {
	kind, name string
	begin, end float64
}

// steps are all steps in the order of their begins.
type steps []step

// patterns match the lines at which a step begins or ends. For a step of a machine, the last line contains
// the duration, so it has no pattern for its begin. Each pattern has a group for the step's name.
var patterns = []struct {
	kind         string
	begins, ends *regexp.Regexp
}{
	{"pulumi",
		regexp.MustCompile(
			`^ *[-+~=<>]+ +\S*?(\w+ \S+) (?:creating|updating|deleting|replacing|reading|refreshing) \(0s\) *$`),
		regexp.MustCompile(`^ *[-+~=<>]+ +\S*?(\w+ \S+) ` +
			`(?:\*\*)?(?:created|updated|deleted|replaced|read|refreshed|creating failed|updating failed|deleting failed)\b`)},
	{"machine", nil, regexp.MustCompile(`infra:Machine (\S+) \w+ \(\d+s\) ([a-z0-9-]+): done after (\d+) s`)},
	{"test", regexp.MustCompile(`^=== RUN +(\S+)`), regexp.MustCompile(`^ *--- (?:PASS|FAIL|SKIP): (\S+) `)},
	{"build", regexp.MustCompile(`^((?:devcloud|toolchain)) +[\d.]+  (.*) …$`),
		regexp.MustCompile(`^((?:devcloud|toolchain)) +[\d.]+  (.*?)(?: FAILED after)? [\d.]+ s(?:, CPU [\d.]+ s)?$`)},
}

// add processes a line of output. now is the number of seconds since the start of the command.
func (s *steps) add(line string, now float64) {
	for _, p := range patterns {
		if found := p.begins; found != nil {
			if m := found.FindStringSubmatch(line); m != nil {
				*s = append(*s, step{kind: p.kind, name: name(m), begin: now})
				return
			}
		}
		m := p.ends.FindStringSubmatch(line)
		switch {
		case m == nil:
		case p.begins == nil:
			took, _ := strconv.ParseFloat(m[3], 64)
			*s = append(*s, step{p.kind, name(m), max(0, now-took), now})
			return
		default:
			for i := len(*s) - 1; i >= 0; i-- {
				if step := &(*s)[i]; step.kind == p.kind && step.name == name(m) && step.end == 0 {
					step.end = now
					return
				}
			}
		}
	}
}

func name(match []string) string {
	if len(match) > 2 {
		return match[1] + ": " + match[2]
	}
	return match[1]
}
