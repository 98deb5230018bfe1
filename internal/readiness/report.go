package readiness

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// report is the state of a machine since its last boot, from the lines that bootstrap-report.service writes
// to the console.
type report struct {
	// lines are all lines in order, without linePrefix.
	lines []string
	// ready is true if the last reported state is ready.
	ready bool
	// steps are the unfinished steps, in the order of their first line.
	steps []step
	// notices maps finished steps to their notices. A notice needs an operator's attention, but no program
	// waits for it.
	notices map[string]string
}

// step is one unfinished step of a machine's bootstrap.
type step struct {
	name string
	// state is the last reported state: started, "failing: …" or "waiting: …".
	state string
	// log holds the last lines of the log of a failing step.
	log []string
}

// linePrefix is the prefix of the report's lines on the console.
const linePrefix = "bootstrap: "

var (
	colour    = regexp.MustCompile("\x1b\\[[0-9;?]*[a-zA-Z]")
	readyLine = regexp.MustCompile(`^ready after \d+ s$`)
	stepLine  = regexp.MustCompile(`^([a-z0-9-]+): (started|done after \d+ s|notice: .*|failing: .*|waiting: .*)$`)
)

// consoleLines returns the lines of a console log without empty lines and without the escape codes that a
// terminal hides. A compromised machine can write any text, so blanks replace the characters that the operator's
// terminal would interpret.
func consoleLines(console string) []string {
	var lines []string
	for line := range strings.Lines(colour.ReplaceAllString(console, "")) {
		if line = strings.TrimRight(strings.Map(printable, line), " "); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// printable returns a character, or a blank for one that cannot be printed.
func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return ' '
}

// parse extracts the report from a console log.
func parse(console string) report {
	var r report
	var current string // the step of the previous line
	for _, line := range consoleLines(console) {
		_, line, found := strings.Cut(line, linePrefix)
		if !found {
			continue
		}
		if strings.HasPrefix(line, "boot ") {
			r = report{}
		}
		r.lines = append(r.lines, line)
		if text, ok := strings.CutPrefix(line, "log: "); ok {
			if i := r.index(current); i >= 0 {
				r.steps[i].log = append(r.steps[i].log, text)
			}
		} else if match := stepLine.FindStringSubmatch(line); match != nil {
			current = match[1]
			r.update(current, match[2])
		} else if readyLine.MatchString(line) {
			r.ready, r.steps = true, nil
		}
	}
	return r
}

func (r *report) index(name string) int {
	return slices.IndexFunc(r.steps, func(s step) bool { return s.name == name })
}

// update sets the state of a step.
func (r *report) update(name, state string) {
	if strings.HasPrefix(state, "notice: ") {
		if r.notices == nil {
			r.notices = map[string]string{}
		}
		r.notices[name] = state
		return
	}
	delete(r.notices, name)
	i := r.index(name)
	if strings.HasPrefix(state, "done ") {
		if i >= 0 {
			r.steps = slices.Delete(r.steps, i, i+1)
		}
		return
	}
	r.ready = false
	if i < 0 {
		i, r.steps = len(r.steps), append(r.steps, step{name: name})
	}
	r.steps[i].state, r.steps[i].log = state, nil
}

// noticeLines returns the notices as they are on the console, sorted by step.
func (r *report) noticeLines() []string {
	var lines []string
	for _, step := range slices.Sorted(maps.Keys(r.notices)) {
		lines = append(lines, step+": "+r.notices[step])
	}
	return lines
}

func isNotice(line string) bool {
	match := stepLine.FindStringSubmatch(line)
	return match != nil && strings.HasPrefix(match[2], "notice: ")
}

// cause returns the step that most likely keeps the machine from becoming ready, or nil if there is no
// unfinished step. The first failing step is the cause, because later steps fail because of it. If no step
// fails, the cause is the first waiting step, then the first running one.
func (r *report) cause() *step {
	for _, state := range []string{"failing: ", "waiting: ", "started"} {
		for i := range r.steps {
			if strings.HasPrefix(r.steps[i].state, state) {
				return &r.steps[i]
			}
		}
	}
	return nil
}

// newLines returns the lines of now that are not in before. The console may have dropped its oldest lines.
func newLines(before, now []string) []string {
	for n := min(len(before), len(now)); n > 0; n-- {
		if slices.Equal(before[len(before)-n:], now[:n]) {
			return now[n:]
		}
	}
	return now
}

// Summary is the state of a machine since its last boot, as its console shows it.
type Summary struct {
	// Reported is false if the console has no line of the report.
	Reported bool
	// Ready is true if the last reported state is ready.
	Ready bool
	// Unfinished are the steps that fail, wait or run, in their order: "etcd: waiting: no quorum".
	Unfinished []string
	// Notices are the notices of the finished steps by step: "no BGP session with 10.0.0.1: no answer".
	Notices map[string]string
}

// Summarize returns the summary of a console log.
func Summarize(console string) Summary {
	r := parse(console)
	s := Summary{Reported: len(r.lines) > 0, Ready: r.ready, Notices: map[string]string{}}
	for _, step := range r.steps {
		s.Unfinished = append(s.Unfinished, step.name+": "+step.state)
	}
	for step, notice := range r.notices {
		s.Notices[step] = strings.TrimPrefix(notice, "notice: ")
	}
	return s
}
