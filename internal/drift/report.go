package drift

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"

	"kubernetes-openstack/internal/review"
)

// String returns the report as a table for people. Machines, users of the Kubernetes API and OpenStack can choose parts
// of the texts, so it has only what a terminal does not interpret.
func (r Report) String() string {
	var b strings.Builder
	if len(r.Findings) > 0 {
		table := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
		fmt.Fprintln(table, "MACHINE\tKIND\tDIFFERENCE")
		for _, f := range r.Findings {
			difference := f.Text
			if f.Name != "" {
				difference = f.Name + ": " + difference
			}
			fmt.Fprintf(table, "%s\t%s\t%s\n", review.OneLine(cmp.Or(f.Machine, "-")), f.Kind, review.OneLine(difference))
		}
		_ = table.Flush() // a Builder returns no error
		b.WriteString("\n")
	}
	for _, unknown := range r.Unknown {
		b.WriteString("unknown: " + review.OneLine(unknown) + "\n")
	}
	switch n := len(r.Findings); n {
	case 0:
		fmt.Fprintf(&b, "%s: no drift\n", r.Stack)
	case 1:
		fmt.Fprintf(&b, "%s: 1 difference\n", r.Stack)
	default:
		fmt.Fprintf(&b, "%s: %d differences\n", r.Stack, n)
	}
	return b.String()
}
