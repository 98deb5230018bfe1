package main

import (
	"fmt"
	"strconv"
	"strings"
)

// page is a list of metrics in the text format of Prometheus.
type page struct {
	strings.Builder
	last string
}

// Types of metrics.
const (
	counter = "counter"
	gauge   = "gauge"
)

var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// add writes one value. labels are pairs of names and values. The values of one metric follow each other.
func (p *page) add(name, kind, help string, value float64, labels ...string) {
	if name != p.last {
		fmt.Fprintf(p, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
		p.last = name
	}
	p.WriteString(name)
	for i := 0; i < len(labels); i += 2 {
		separator := ","
		if i == 0 {
			separator = "{"
		}
		fmt.Fprintf(p, `%s%s="%s"`, separator, labels[i], escape.Replace(labels[i+1]))
	}
	if len(labels) > 0 {
		p.WriteString("}")
	}
	p.WriteString(" " + strconv.FormatFloat(value, 'g', -1, 64) + "\n")
}
