package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestChangeLimit(t *testing.T) {
	limit := filepath.Join(t.TempDir(), "limit")
	if err := os.WriteFile(limit, []byte("128\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		by   int
		want string
	}{{10, "138"}, {10, "148"}, {-10, "138"}, {-10, "128"}, {-10, "128"}} {
		if err := changeLimit(limit, step.by); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(limit); err != nil || string(got) != step.want {
			t.Errorf("%+d: %s %v", step.by, got, err)
		}
	}
	if err := os.WriteFile(limit, []byte("none"), 0o644); err != nil {
		t.Fatal(err)
	}
	if changeLimit(limit, 1) == nil || changeLimit(limit+".missing", 1) == nil {
		t.Error("a missing number must be an error")
	}
}
