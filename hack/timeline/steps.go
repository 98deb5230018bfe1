package main

import (
	"regexp"
	"strconv"
)

// step is a bar. It has not ended as long as end is zero.
type step struct {
	kind, name string
	begin, end float64
}

// steps in the order in which they began.
type steps []step

// patterns of lines by which a step begins or ends; of a machine's step the end
// tells the begin. Each has a group for its name.
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
		regexp.MustCompile(`^((?:devcloud|toolchain)) +[\d.]+  (.*?)(?: FAILED after)? [\d.]+ s$`)},
}

// hear takes in a line of output that came so many seconds after the begin.
func (s *steps) hear(line string, now float64) {
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
				if is := &(*s)[i]; is.kind == p.kind && is.name == name(m) && is.end == 0 {
					is.end = now
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
