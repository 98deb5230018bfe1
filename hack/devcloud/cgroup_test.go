package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestHierarchies(t *testing.T) {
	got, err := hierarchies(`/dev/vda / ext4 rw 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,nodev,noexec,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/cpuset cgroup rw,relatime,cpuset,clone_children 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,relatime,xattr,release_agent=/lib/systemd/agent,name=systemd 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
`)
	want := []hierarchy{
		{"/sys/fs/cgroup/cpu,cpuacct", "cgroup", "cpu,cpuacct"},
		{"/sys/fs/cgroup/cpuset", "cgroup", "cpuset"},
		{"/sys/fs/cgroup/systemd", "cgroup", "none,name=systemd"},
		{"/sys/fs/cgroup/unified", "cgroup2", ""},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	got, err = hierarchies("cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime,nsdelegate 0 0\n" +
		"net_cls /run/vpn/net_cls cgroup rw,relatime,net_cls 0 0\n")
	if err != nil || !slices.Equal(got, []hierarchy{{"/sys/fs/cgroup", "cgroup2", ""}}) {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := hierarchies("sysfs /sys sysfs rw 0 0\n"); err == nil {
		t.Error("a machine without control groups must be an error")
	}
}

func TestRemoveCgroup(t *testing.T) {
	group := filepath.Join(t.TempDir(), "group")
	if err := os.MkdirAll(filepath.Join(group, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time the group does not exist
		if err := removeCgroup(group); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(group); err == nil {
		t.Error("the group still exists")
	}
}
