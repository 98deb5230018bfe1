package main

import (
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/tests/golden"
)

// TestPicture draws the output of all kinds of commands. Each line has the second at which it was printed.
func TestPicture(t *testing.T) {
	r := run{title: "make e2e: <60 s>", end: 60, busy: []busy{{1, .5}, {30, 1}, {59, 0}}}
	for _, line := range []struct {
		at   float64
		text string
	}{
		{0, "devcloud    0.0  start the services …"},
		{3, "devcloud    3.0    bird"},
		{12, "devcloud   12.0  start the services 12.0 s"},
		{12.5, "=== RUN   TestE2ELife"},
		{12.5, "=== RUN   TestE2ELife/up,_killed"},
		{13, " +  openstack:networking:Port dev-etcd-0 creating (0s) "},
		{13, " +  openstack:compute:Instance dev-etcd-0 creating (0s) "},
		{13.5, " +  openstack:networking:Port dev-etcd-0 created (0.5s) "},
		{30, " +  openstack:compute:Instance dev-etcd-0 created (17s) "},
		{35, "=== RUN   TestE2ELife/a_name_that_does_not_fit_into_the_picture_if_it_begins_at_its_bar"},
		{45, " +  kubernetes-openstack:infra:Machine dev-etcd-0 creating (32s) artifacts: done after 12 s"},
		{46, "    --- PASS: TestE2ELife/up,_killed (33.50s)"},
		{50, " -  openstack:compute:Instance dev-etcd-0 deleting (0s) "},
		{51, "nothing of interest: done"},
	} {
		r.steps.add(line.text, line.at)
	}
	golden.Check(t, "picture.svg", r.svg())
}

func TestRecord(t *testing.T) {
	r, err := record([]string{"sh", "-c",
		"echo 'toolchain 0.0  build a …'; sleep 1.2; echo 'toolchain 1.2  build a 1.2 s, CPU 0.9 s' >&2; exit 3"}, io.Discard)
	assert.EqualError(t, err, "exit status 3")
	require.Len(t, r.steps, 1)
	assert.Equal(t, "toolchain: build a", r.steps[0].name)
	assert.InDelta(t, 1.2, r.steps[0].end-r.steps[0].begin, .5)
	require.NotEmpty(t, r.busy)
	assert.GreaterOrEqual(t, r.busy[0].share, 0.0)
}
