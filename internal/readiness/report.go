package readiness

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// report is what a machine has said on its console since it booted last: the lines of its bootstrap-report.service.
type report struct {
	// lines in order, without the mark.
	lines []string
	// ready is whether the last state said is ready.
	ready bool
	// steps that are not done, in the order in which they were first heard of.
	steps []step
	// notices of steps that are done, by step: what nothing waits for, but somebody should know.
	notices map[string]string
}

// step of a machine's bootstrap.
type step struct {
	name string
	// state is what it last said of itself: started, "failing: …" or "waiting: …".
	state string
	// log has the last lines of the log of one that fails.
	log []string
}

// mark begins a report's lines among all others on the console.
const mark = "bootstrap: "

var (
	colour    = regexp.MustCompile("\x1b\\[[0-9;?]*[a-zA-Z]")
	readyLine = regexp.MustCompile(`^ready after \d+ s$`)
	stepLine  = regexp.MustCompile(`^([a-z0-9-]+): (started|done after \d+ s|notice: .*|failing: .*|waiting: .*)$`)
)

// consoleLines are the lines of a console log without what a terminal would not show.
func consoleLines(console string) []string {
	var lines []string
	for line := range strings.Lines(colour.ReplaceAllString(console, "")) {
		if line = strings.TrimRight(line, " \r\n"); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// parse reads a console log.
func parse(console string) report {
	var r report
	var speaking string // the step that said the last line
	for _, line := range consoleLines(console) {
		_, line, ours := strings.Cut(line, mark)
		if !ours {
			continue
		}
		if strings.HasPrefix(line, "boot ") {
			r = report{}
		}
		r.lines = append(r.lines, line)
		if text, ok := strings.CutPrefix(line, "log: "); ok {
			if i := r.index(speaking); i >= 0 {
				r.steps[i].log = append(r.steps[i].log, text)
			}
		} else if said := stepLine.FindStringSubmatch(line); said != nil {
			speaking = said[1]
			r.say(speaking, said[2])
		} else if readyLine.MatchString(line) {
			r.ready, r.steps = true, nil
		}
	}
	return r
}

func (r *report) index(name string) int {
	return slices.IndexFunc(r.steps, func(s step) bool { return s.name == name })
}

// say takes in a step's new state.
func (r *report) say(name, state string) {
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

// noticeLines are the notices as they were said.
func (r *report) noticeLines() []string {
	var lines []string
	for _, step := range slices.Sorted(maps.Keys(r.notices)) {
		lines = append(lines, step+": "+r.notices[step])
	}
	return lines
}

func isNotice(line string) bool {
	said := stepLine.FindStringSubmatch(line)
	return said != nil && strings.HasPrefix(said[2], "notice: ")
}

// cause is the step that most likely keeps the machine from being ready, or nil where nothing was heard: the first that
// fails, for those after it fail because of it; else the first that waits or runs.
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

// news are the lines of now that were not in before, though a console may have forgotten the oldest.
func news(before, now []string) []string {
	for n := min(len(before), len(now)); n > 0; n-- {
		if slices.Equal(before[len(before)-n:], now[:n]) {
			return now[n:]
		}
	}
	return now
}
