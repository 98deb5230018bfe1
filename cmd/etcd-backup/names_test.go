package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestNames(t *testing.T) {
	b := &backup{cluster: "prod"}
	at := time.Date(2006, 12, 1, 16, 4, 5, 999, time.FixedZone("", 3600))
	assert.Equal(t, "prod-20061201T150405Z.db", b.name(at))
	for name, want := range map[string]bool{
		"prod-20061201T150405Z.db":                        true,
		"prod-eu-20061201T150405Z.db":                     false, // of the cluster prod-eu
		"prod-20061201T150405Z":                           false,
		"prod-20061201T150405Z.db.part":                   false,
		"prod-before-upgrade.db":                          false,
		"prod-20061301T150405Z.db":                        false,
		"test-20061201T150405Z.db":                        false,
		"segments/prod-20061201T150405Z.db/00000000":      false,
		"prod-segments/prod-20061201T150405Z.db/00000000": false,
	} {
		at, ok := b.time(name)
		assert.Equal(t, want, ok, name)
		if ok {
			assert.Equal(t, name, b.name(at))
		}
	}
}

func TestLatest(t *testing.T) {
	b := &backup{cluster: "prod", interval: time.Hour}
	now := time.Date(2006, 12, 1, 15, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		names []string
		want  string
	}{
		"no snapshot": {},
		"an old one":  {[]string{"prod-20061101T140000Z.db"}, "prod-20061101T140000Z.db"},
		"a young one": {[]string{"prod-20061201T120000Z.db", "prod-20061201T140001Z.db"},
			"prod-20061201T140001Z.db"},
		"of another cluster":     {names: []string{"test-20061201T140001Z.db", "prod-eu-20061201T140001Z.db"}},
		"another clock is ahead": {[]string{"prod-20061201T150030Z.db"}, "prod-20061201T150030Z.db"},
		"another clock was wrong": {[]string{"prod-20361201T150000Z.db", "prod-20061201T130000Z.db"},
			"prod-20061201T130000Z.db"},
		"no other clock was right": {names: []string{"prod-20361201T150000Z.db"}},
	} {
		assert.Equal(t, test.want, b.latest(test.names, now), name)
	}
}

func TestOutdated(t *testing.T) {
	names := []string{"prod-20061201T150000Z.db", "prod-20061201T120000Z.db", "prod-20061201T130000Z.db",
		"prod-20061201T140000Z.db", "prod-20061101T120000Z.db", "prod-eu-20061201T100000Z.db", "prod-upgrade.db"}
	now := time.Date(2006, 12, 1, 15, 30, 0, 0, time.UTC)
	for _, test := range []struct {
		keep    int
		restore string
		want    []string
	}{
		{5, "", []string{}},
		{24, "", []string{}},
		{3, "", []string{"prod-20061201T120000Z.db", "prod-20061101T120000Z.db"}},
		{3, "prod-20061101T120000Z.db", []string{"prod-20061201T120000Z.db"}},
		{3, "prod-upgrade.db", []string{"prod-20061201T120000Z.db", "prod-20061101T120000Z.db"}},
	} {
		b := &backup{cluster: "prod", interval: time.Hour, keep: test.keep, restore: test.restore}
		assert.Equal(t, test.want, b.outdated(names, now))
		// snapshots of a machine whose clock was wrong, and a machine whose clock is wrong
		wrong := append([]string{"prod-20361201T150000Z.db", "prod-20361201T160000Z.db"}, names...)
		assert.Equal(t, test.want, b.outdated(wrong, now))
		assert.Empty(t, b.outdated(names, now.AddDate(-10, 0, 0)))
	}
}

func TestOrphans(t *testing.T) {
	b := &backup{cluster: "prod"}
	assert.Equal(t, map[string][]string{
		"prod-20061201T130000Z.db": {"segments/prod-20061201T130000Z.db/00000000",
			"segments/prod-20061201T130000Z.db/00000001"},
	}, b.orphans([]string{"prod-20061201T120000Z.db"}, []string{
		"segments/prod-20061201T120000Z.db/00000000", "segments/prod-20061201T130000Z.db/00000000",
		"segments/prod-20061201T130000Z.db/00000001", "segments/prod-eu-20061201T130000Z.db/00000000",
		"segments/prod-upgrade.db/00000000",
	}))
}
