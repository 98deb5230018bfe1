package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestKillOnlyRecordedProcess(t *testing.T) {
	sleep := exec.Command("sleep", "60")
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	defer sleep.Wait()
	defer sleep.Process.Kill()
	recorded, err := findProcess(sleep.Process.Pid)
	if err != nil || !recorded.alive() {
		t.Fatalf("%+v %v", recorded, err)
	}
	another := Process{recorded.PID, "1"} // the same number, another process
	if err := another.kill(time.Second); err != nil || another.alive() || !recorded.alive() {
		t.Error("a process that is not in the record was killed", err)
	}
	if err := recorded.kill(time.Second); err != nil || recorded.alive() {
		t.Error("the recorded process was not killed", err)
	}
	if err := (Process{}).kill(time.Second); err != nil {
		t.Error("kill of no process:", err)
	}
}

func TestRecordIsKept(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	var none, loaded Record
	if err := load("record.json", &none); err != nil || none.Cgroups != nil {
		t.Error("a missing record must be no error:", err)
	}
	group := filepath.Join(t.TempDir(), "devcloud-1")
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatal(err)
	}
	written := Record{Init: Process{1 << 22, "1"}, Cgroups: []string{group, group + "-missing"}, Compute: "fake",
		Started: time.Now()}
	if err := save("record.json", written); err != nil {
		t.Fatal(err)
	}
	if err := load("record.json", &loaded); err != nil || loaded.Init != written.Init ||
		!loaded.Started.Equal(written.Started) {
		t.Errorf("%+v %v", loaded, err)
	}
	if err := loaded.remove(); err != nil {
		t.Error(err)
	}
	if err := (Record{}).remove(); err != nil {
		t.Error("an empty record must be no error:", err)
	}
	for _, path := range []string{group, state("record.json")} {
		if _, err := os.Stat(path); err == nil {
			t.Error(path, "still exists")
		}
	}
}

func TestRecordStaysAfterAnError(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	record := Record{Cgroups: []string{filepath.Join(file, "group")}} // the path is an error, because its parent is a file
	if err := save("record.json", record); err != nil {
		t.Fatal(err)
	}
	if err := record.remove(); err == nil {
		t.Error("a group that cannot be removed must be an error")
	}
	if _, err := os.Stat(state("record.json")); err != nil {
		t.Error("the record of the group is lost:", err)
	}
}

func TestReplaceFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "file")
	for _, mode := range []fs.FileMode{0o644, 0o600} {
		if err := replaceFile(path, []byte(mode.String()), mode); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode() != mode {
			t.Error(info.Mode(), err)
		}
		if err := os.WriteFile(path+".part", nil, 0o644); err != nil { // the file of a killed run
			t.Fatal(err)
		}
	}
}
