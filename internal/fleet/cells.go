package fleet

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"kubernetes-openstack/internal/review"
)

// Report is the list of all clusters at one time.
type Report struct {
	Time time.Time `json:"time"`
	Rows []Row     `json:"clusters"`
}

// level is how urgent the value of a cell is.
type level string

const (
	none    level = ""
	good    level = "good"
	warning level = "warning"
	bad     level = "bad"
	unknown level = "unknown"
)

// cell is one cell of the table. note is a sentence about a value that needs attention, or about an unknown one.
type cell struct {
	Text  string
	Level level
	Note  string
	// Sort is the number by which the page sorts, or "" to sort by the text.
	Sort string
}

// column is a column of the table. Values of a number are aligned to the right.
type column struct {
	Title  string
	Number bool
	cell   func(Row, time.Time) cell
}

var columns = []column{
	{"Stack", false, func(r Row, _ time.Time) cell { return cell{Text: r.Stack} }},
	{"Region", false, func(r Row, _ time.Time) cell { return cell{Text: r.Region} }},
	{"Kubernetes", false, func(r Row, _ time.Time) cell {
		text, differs := r.runs()
		if differs {
			return cell{Text: text, Level: warning, Note: "Kubernetes " + text}
		}
		return cell{Text: text}
	}},
	{"etcd", false, func(r Row, _ time.Time) cell { return cell{Text: r.Versions.Etcd} }},
	{"Calico", false, func(r Row, _ time.Time) cell { return cell{Text: r.Versions.Calico} }},
	{"Nodes", true, func(r Row, _ time.Time) cell { return r.count(NodesPart, r.Nodes, "nodes are Ready") }},
	{"Members", true, func(r Row, _ time.Time) cell { return r.count(EtcdPart, r.Etcd, "members of etcd are ready") }},
	{"BGP", true, func(r Row, _ time.Time) cell { return r.count(BGPPart, r.BGP, "nodes have all BGP sessions") }},
	{"Certificate", true, certificateCell},
	{"Backup", true, backupCell},
	{"Updated", true, func(r Row, now time.Time) cell {
		if r.Updated == nil {
			return r.unknown(StatePart)
		}
		return ageCell(now.Sub(*r.Updated))
	}},
	{"Drift", true, func(r Row, _ time.Time) cell {
		switch {
		case r.Drift == nil:
			return r.unknown(DriftPart)
		case *r.Drift > 0:
			return cell{fmt.Sprint(*r.Drift), warning, fmt.Sprintf("%d differences: run make drift", *r.Drift),
				fmt.Sprint(*r.Drift)}
		}
		return cell{"0", good, "", "0"}
	}},
	{"Per month", true, func(r Row, _ time.Time) cell {
		switch {
		case r.Cost == nil:
			return cell{}
		case len(r.Cost.Unpriced) > 0:
			return cell{"over " + r.Cost.text(), none, "no price for " + strings.Join(r.Cost.Unpriced, ", "),
				fmt.Sprint(r.Cost.PerMonth)}
		}
		return cell{Text: r.Cost.text(), Sort: fmt.Sprint(r.Cost.PerMonth)}
	}},
	{"API", false, func(r Row, _ time.Time) cell {
		switch {
		case r.API == Ready:
			return cell{Text: r.API, Level: good}
		case strings.HasPrefix(r.API, unreachable), strings.HasPrefix(r.API, notReady):
			return cell{Text: r.API, Level: bad}
		}
		return cell{Text: r.API, Level: unknown}
	}},
}

// unknown returns the cell of a part that could not be read.
func (r Row) unknown(part Part) cell {
	if reason, ok := r.Unknown[part]; ok {
		return cell{Text: "?", Level: unknown, Note: reason}
	}
	return cell{} // there is no cluster
}

func (r Row) count(part Part, c *Count, noun string) cell {
	if c == nil {
		return r.unknown(part)
	}
	out := cell{Text: fmt.Sprintf("%d/%d", c.Ready, c.Planned), Level: good,
		Sort: fmt.Sprintf("%.4f", float64(c.Ready)/float64(max(1, c.Planned)))}
	switch {
	case c.Ready+c.Unknown < c.Planned:
		out.Level, out.Note = bad, fmt.Sprintf("%d of %d %s", c.Ready, c.Planned, noun)
	case c.Unknown > 0:
		out.Level, out.Note = unknown, r.Unknown[part]
	}
	return out
}

// The first `up` in the last 90 days of a certificate renews it, and kubelet renews its own in the last third. So these
// are late.
const (
	certificateSoon = 30 * 24 * time.Hour
	certificateLast = 7 * 24 * time.Hour
)

func certificateCell(r Row, now time.Time) cell {
	if r.Certificate == nil {
		return cell{}
	}
	left := r.Certificate.End.Sub(now)
	out := ageCell(max(0, left))
	switch {
	case left <= 0:
		out.Text, out.Level, out.Note = "expired", bad, "certificate "+r.Certificate.Name+" has expired"
	case left < certificateSoon:
		out.Level, out.Note = warning, "certificate "+r.Certificate.Name+" expires in "+out.Text
		if left < certificateLast {
			out.Level = bad
		}
	}
	return out
}

func backupCell(r Row, now time.Time) cell {
	_, isUnknown := r.Unknown[BackupPart]
	switch {
	case isUnknown:
		return r.unknown(BackupPart)
	case r.Backup == nil && r.API == Ready && r.Versions.Etcd != "": // the state has a summary
		return cell{Text: "off", Level: warning, Note: "no backups: set etcd.backup"}
	case r.Backup == nil:
		return cell{}
	case r.Backup.Time == nil:
		return cell{Text: "none", Level: bad, Note: "the container has no backup"}
	}
	out := ageCell(now.Sub(*r.Backup.Time))
	out.Level = good
	if now.Sub(*r.Backup.Time).Seconds() > r.Backup.MaxAge {
		out.Level, out.Note = bad, "the newest backup is "+out.Text+" old"
	}
	return out
}

// ageCell returns a duration that a person can compare.
func ageCell(d time.Duration) cell {
	out := cell{Sort: fmt.Sprintf("%.0f", d.Seconds())}
	switch {
	case d < 2*time.Hour:
		out.Text = fmt.Sprintf("%.0f min", max(0, d.Minutes()))
	case d < 48*time.Hour:
		out.Text = fmt.Sprintf("%.0f h", d.Hours())
	default:
		out.Text = fmt.Sprintf("%.0f d", d.Hours()/24)
	}
	return out
}

func (c Cost) text() string { return strings.TrimSpace(fmt.Sprintf("%.2f %s", c.PerMonth, c.Currency)) }

// cells returns the cells of a row.
func (r Report) cells(row Row) []cell {
	var out []cell
	for _, column := range columns {
		c := column.cell(row, r.Time)
		c.Text, c.Note = review.OneLine(c.Text), review.OneLine(c.Note)
		out = append(out, c)
	}
	return out
}

// notes returns a sentence for each value that needs attention, and for each reason of unknown values.
func (r Report) notes() []string {
	var out []string
	for _, row := range r.Rows {
		for _, c := range r.cells(row) {
			if c.Note != "" && c.Level != unknown {
				out = append(out, row.Stack+": "+c.Note)
			}
		}
		names := map[string]string{}
		for _, part := range append([]Part{StatePart}, parts...) {
			if reason := row.Unknown[part]; reason != "" {
				names[reason] = strings.TrimPrefix(names[reason]+", "+string(part), ", ")
			}
		}
		for _, reason := range slices.Sorted(maps.Keys(names)) {
			if strings.Contains(row.API, reason) {
				continue // the row has it
			}
			out = append(out, fmt.Sprintf("%s: unknown: %s: %s", row.Stack, names[reason], reason))
		}
	}
	return out
}

// summary returns the totals in one sentence.
func (r Report) summary() string {
	ready, costs := 0, map[string]float64{}
	var currencies []string
	for _, row := range r.Rows {
		if row.API == Ready {
			ready++
		}
		if row.Cost == nil {
			continue
		}
		if !slices.Contains(currencies, row.Cost.Currency) {
			currencies = append(currencies, row.Cost.Currency)
		}
		costs[row.Cost.Currency] += row.Cost.PerMonth
	}
	text := fmt.Sprintf("%d stacks, %d of them with a ready API", len(r.Rows), ready)
	for _, currency := range currencies {
		text += ", " + Cost{PerMonth: costs[currency], Currency: currency}.text() + " per month"
	}
	return text
}
