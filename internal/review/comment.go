package review

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// marker is the first line of the comment. A pipeline finds its comment by this line, and updates it.
const marker = "<!-- kubernetes-openstack: review -->\n"

// maxComment is the size of the largest comment in bytes. GitHub accepts less than 65,536 characters, and no text has
// more characters than bytes.
const maxComment = 65_535

// WholeText returns everything about all stacks.
func WholeText(reviews []Review) string { return write(reviews, math.MaxInt) }

// Comment returns as much as fits into one comment: all of it, or else shorter lists, or else only the first stacks.
func Comment(reviews []Review) string {
	for _, limit := range []int{math.MaxInt, 100, 20, 5, 0} {
		if text := write(reviews, limit); len(text) <= maxComment {
			return text
		}
	}
	const note = "\n\nThe comment ends here, because it is too long. The full text has the rest.\n"
	text := write(reviews, 0)[:maxComment-len(note)]
	if section := strings.LastIndex(text, "\n### "); section >= 0 {
		return text[:section] + note // not within a block of code
	}
	return text[:strings.LastIndex(text, "\n")] + note
}

// write writes the comment. Lists have at most limit items.
func write(reviews []Review, limit int) string {
	var out strings.Builder
	out.WriteString(marker + "## Preview\n\n")
	if len(reviews) == 0 {
		return out.String() + "The change touches no stack.\n"
	}
	out.WriteString("| stack | result | machines | data lost | cost per month |\n|---|---|---|---|---|\n")
	for _, r := range reviews {
		lost := ""
		if len(r.lost) > 0 {
			lost = "**yes**"
		}
		fmt.Fprintf(&out, "| %s | %s | %s | %s | %s |\n", cell(r.stack), r.Result, r.machineCounts(), lost, cell(r.costs()))
	}
	for _, r := range reviews {
		r.write(&out, limit)
	}
	return out.String()
}

// write writes the section of one stack. It is empty if there is nothing to say.
func (r Review) write(out *strings.Builder, limit int) {
	if r.Result == Unchanged && len(r.violations) == 0 && len(r.notes) == 0 {
		return
	}
	fmt.Fprintf(out, "\n### %s\n", safe(r.stack))
	if r.Result == Refused && len(r.errors) > 0 {
		fmt.Fprintf(out, "\nThe preview failed:\n\n```text\n%s\n```\n", strings.Join(shortened(r.errors, limit), "\n"))
	}
	list(out, "This data is lost", r.lost, limit)
	if len(r.changes) > 0 {
		out.WriteString("\n| kind | create | update | replace | delete |\n|---|--:|--:|--:|--:|\n")
		for _, kind := range kinds {
			if counts := r.changes[kind.noun]; counts != nil {
				fmt.Fprintf(out, "| %s |", kind.noun)
				for _, op := range operations {
					fmt.Fprintf(out, " %s |", orEmpty(counts[op]))
				}
				out.WriteString("\n")
			}
		}
	}
	r.writeMachines(out, limit)
	r.writeUsage(out)
	list(out, "Broken rules of docs/policy.md", r.violations, limit)
	list(out, "Waived rules, and their reasons", r.waivers, limit)
	for _, note := range r.notes {
		fmt.Fprintf(out, "\n%s\n", safe(note))
	}
}

// writeMachines writes the table of the changes, or else the changes of instances.
func (r Review) writeMachines(out *strings.Builder, limit int) {
	if len(r.table.Machines) == 0 {
		var machines []string
		for _, m := range r.machines {
			machines = append(machines, fmt.Sprintf("%s: %s", code(m.name), m.op))
		}
		list(out, "Machines", machines, limit)
		return
	}
	lines := strings.Split(strings.TrimSpace(r.table.String()), "\n")
	for i := range lines {
		lines[i] = block(lines[i])
	}
	const head = 2 // the numbers, and the names of the columns
	lines = append(lines[:head:head], shortened(lines[head:], limit)...)
	fmt.Fprintf(out, "\n```text\n%s\n```\n", strings.Join(lines, "\n"))
}

// writeUsage writes the quota that changes, and the prices that are missing.
func (r Review) writeUsage(out *strings.Builder) {
	rows := ""
	for _, u := range units(r.total, r.change) {
		if r.change[u] != 0 {
			rows += fmt.Sprintf("| %s | %s | %+d |", cell(u.String()), orEmpty(r.total[u]), r.change[u])
			if r.quota != nil {
				rows += fmt.Sprintf(" %s |", r.available(u))
			}
			rows += "\n"
		}
	}
	switch {
	case rows != "" && r.quota != nil:
		out.WriteString("\n| quota | in total | change | available |\n|---|--:|--:|--:|\n" + rows)
	case rows != "":
		out.WriteString("\n| quota | in total | change |\n|---|--:|--:|\n" + rows)
	}
	if r.costs() != "" {
		_, total := r.total.cost(r.prices)
		_, change := r.change.cost(r.prices)
		if unpriced := unique(append(total, change...)); len(unpriced) > 0 {
			fmt.Fprintf(out, "\nThe cost is incomplete, because `prices` has no price for: %s.\n",
				safe(strings.Join(unpriced, ", ")))
		}
	}
}

// machineCounts returns the numbers of changed machines.
func (r Review) machineCounts() string {
	var parts []string
	for _, op := range operations {
		if n := r.changes["machine"][op]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %sd", n, op))
		}
	}
	return strings.Join(parts, ", ")
}

// list writes a list with at most limit items. It writes nothing without items.
func list(out *strings.Builder, title string, items []string, limit int) {
	if len(items) == 0 {
		return
	}
	fmt.Fprintf(out, "\n%s:\n\n", title)
	for _, item := range shortened(items, limit) {
		fmt.Fprintf(out, "- %s\n", safe(item))
	}
}

// shortened returns the first items, and a line about the others.
func shortened(items []string, limit int) []string {
	if len(items) <= limit {
		return items
	}
	return append(items[:limit:limit], fmt.Sprintf("%d more are in the full text", len(items)-limit))
}

// orEmpty returns a number as text, or "" for 0.
func orEmpty(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// unique removes repeated texts, and keeps the order.
func unique(texts []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, text := range texts {
		if !seen[text] {
			out = append(out, text)
		}
		seen[text] = true
	}
	return out
}
