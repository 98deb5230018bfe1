package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// loopsOf returns the attached loop devices whose backing file is below a folder, or on a filesystem on such a device.
func loopsOf(t *testing.T, folder string) (paths []string) {
	t.Helper()
	files, err := filesBelow(folder)
	if err == nil {
		err = eachLoop(files, func(device loop) error {
			paths = append(paths, device.Name())
			return nil
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func TestDetachLoops(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can attach loop devices")
	}
	// The number of a device changes when it gets another file. Other tests may attach a device that this test detached.
	number := func(device string) string {
		text, _ := os.ReadFile("/sys/block/" + device + "/diskseq")
		return string(text)
	}
	numbers := map[string]string{}
	attached := func(device string) bool {
		_, err := os.Stat("/sys/block/" + device + "/loop")
		return err == nil && number(device) == numbers[device]
	}
	attach := func(folder string, size int) string {
		t.Helper()
		path := filepath.Join(folder, "volume")
		if err := os.WriteFile(path, make([]byte, size), 0o644); err != nil {
			t.Fatal(err)
		}
		output, err := exec.Command("losetup", "--find", "--show", path).Output()
		if err != nil {
			t.Fatal(err)
		}
		device := filepath.Base(strings.TrimSpace(string(output)))
		numbers[device] = number(device)
		t.Cleanup(func() {
			if attached(device) {
				exec.Command("losetup", "--detach", "/dev/"+device).Run()
			}
		})
		return device
	}
	ours, others := t.TempDir(), t.TempDir()
	our, other := attach(ours, 1<<20), attach(others, 1<<20)
	if err := os.Rename(ours, ours+"-moved"); err != nil { // now the kernel has the wrong path
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
		t.Error("our device was detached while it was open")
	}
	if found := loopsOf(t, ours+"-moved"); !slices.Equal(found, []string{"/dev/" + our}) {
		t.Errorf("the devices of our folder are %v", found)
	}
	time.AfterFunc(100*time.Millisecond, func() { busy.Close() })
	if err := detachLoops(time.Minute, ours+"-moved"); err != nil {
		t.Fatal(err)
	}
	if attached(our) {
		t.Error("our device is still attached")
	}
	if !attached(other) {
		t.Error("a device of another folder was detached")
	}

	// A filesystem on one of our devices stays mounted as long as one of its own files has a device.
	below := t.TempDir()
	lower := attach(below, 8<<20)
	for _, line := range []string{"mkfs.ext4 -q /dev/" + lower, "mount /dev/" + lower + " " + others} {
		if output, err := exec.Command("sh", "-c", line).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", line, err, output)
		}
	}
	upper := attach(others, 1<<20)
	if found := loopsOf(t, below); len(found) != 2 || slices.Contains(found, "/dev/"+other) {
		t.Errorf("the devices of the folder and on its filesystem are %v", found)
	}
	if err := exec.Command("umount", "--lazy", others).Run(); err != nil {
		t.Fatal(err)
	}
	if err := detachLoops(time.Minute, below); err != nil {
		t.Fatal(err)
	}
	if attached(lower) || attached(upper) {
		t.Error("a device, or the device below it, is still attached")
	}
}
