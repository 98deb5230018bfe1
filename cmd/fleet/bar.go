package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"

	"kubernetes-openstack/internal/fleet"
	"kubernetes-openstack/internal/progress"
)

// bar shows the progress: as a bar on a terminal, and as one line for each stack otherwise.
type bar struct {
	out        *os.File
	log        *progress.Log // nil on a terminal
	ready, all int
}

func newBar(out *os.File, all int) *bar {
	b := &bar{out: out, all: all}
	if !term.IsTerminal(int(out.Fd())) {
		b.log = progress.New(out, "fleet")
		return b
	}
	b.show()
	return b
}

// done shows that a stack was read.
func (b *bar) done(row fleet.Row) {
	b.ready++
	if b.log != nil {
		b.log.Printf("%d/%d %s: API %s", b.ready, b.all, row.Stack, row.API)
		return
	}
	b.show()
}

// show draws the bar in place of the last one. When all stacks are read, the line is empty.
func (b *bar) show() {
	fmt.Fprint(b.out, "\r\x1b[K") // deletes the line
	if b.ready < b.all {
		columns, _, err := term.GetSize(int(b.out.Fd()))
		if err != nil || columns == 0 { // the terminal does not know
			columns = 80
		}
		fmt.Fprint(b.out, draw(b.ready, b.all, columns))
	}
}

// draw returns the bar for a terminal with this number of columns. A longer line could not be deleted.
func draw(ready, all, columns int) string {
	count := fmt.Sprintf("%d/%d", ready, all)
	width := min(30, columns-len(count)-len("[] ")-1) // the last column is for the cursor
	if width < 1 {
		return count
	}
	full := width * ready / all
	return fmt.Sprintf("[%s%s] %s", strings.Repeat("#", full), strings.Repeat("-", width-full), count)
}
