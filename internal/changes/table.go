package changes

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// String returns the table for people. It is "" if no machine changes.
func (t Table) String() string {
	if len(t.Machines) == 0 {
		return ""
	}
	var out strings.Builder
	fmt.Fprintf(&out, "changes of machines: %d", len(t.Machines))
	if t.Seconds > 0 {
		out.WriteString(", about " + estimate(t.Seconds))
	}
	out.WriteString("\n")
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "machine\tclass\tstep\tat a time\tduration\tkeys")
	for _, c := range t.Machines {
		step, atATime := "-", "-"
		if c.Step > 0 {
			step, atATime = fmt.Sprint(c.Step), fmt.Sprint(c.AtATime)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", c.Machine, c.Class, step, atATime, cmp.Or(estimate(c.Seconds), "-"),
			cmp.Or(strings.Join(c.Keys, ", "), "-"))
	}
	_ = w.Flush() // a Builder cannot fail
	return out.String()
}

// estimate returns an estimated duration, or "" if it is unknown.
func estimate(seconds int) string {
	if seconds == 0 {
		return ""
	}
	return (time.Duration(seconds) * time.Second).String()
}
