package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestDetachLoops(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can attach loop devices")
	}
	attach := func(folder string) string {
		t.Helper()
		path := filepath.Join(folder, "volume")
		if err := os.WriteFile(path, make([]byte, 1<<20), 0o644); err != nil {
			t.Fatal(err)
		}
		output, err := exec.Command("losetup", "--find", "--show", path).Output()
		if err != nil {
			t.Fatal(err)
		}
		device := strings.TrimSpace(string(output))
		t.Cleanup(func() { exec.Command("losetup", "--detach", device).Run() })
		return filepath.Base(device)
	}
	attached := func(device string) bool {
		_, err := os.Stat("/sys/block/" + device + "/loop")
		return err == nil
	}
	ours, others := t.TempDir(), t.TempDir()
	our, other := attach(ours), attach(others)
	if err := os.Rename(ours, ours+"-moved"); err != nil { // the kernel's path is wrong from now on
		t.Fatal(err)
	}
	defer os.RemoveAll(ours + "-moved")
	busy, err := os.Open("/dev/" + our)
	if err != nil {
		t.Fatal(err)
	}
	err = detachLoops(100*time.Millisecond, ours+"-moved")
	if err == nil || !strings.Contains(err.Error(), "still in use") {
		t.Error(err)
	}
	if !attached(our) {
		t.Error("our device was detached although somebody has it open")
	}
	time.AfterFunc(100*time.Millisecond, func() { busy.Close() })
	if err := detachLoops(time.Minute, ours+"-moved"); err != nil {
		t.Fatal(err)
	}
	if attached(our) {
		t.Error("our device is still attached")
	}
	if !attached(other) {
		t.Error("another's device was detached")
	}
}
