package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// inode is a file, whatever it is called: the kernel forgets the path of a loop device's file when the mount
// namespace that knew it is gone.
type inode struct{ device, number uint64 }

// detachLoops detaches each loop device whose file lies below one of the folders. Loop devices are the one thing
// that may outlive the box: they belong to no namespace. It waits at most so long until they are free: who mounts a
// file once more while its old mount is still being written back destroys what is on it.
func detachLoops(wait time.Duration, folders ...string) error {
	devices, err := filepath.Glob("/sys/block/loop*/loop")
	if err != nil || len(devices) == 0 {
		return err
	}
	ours := map[inode]bool{}
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return nil // gone meanwhile, or never there
			}
			if info, err := entry.Info(); err == nil {
				stat := info.Sys().(*syscall.Stat_t)
				ours[inode{stat.Dev, stat.Ino}] = true
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, device := range devices {
		device = "/dev/" + filepath.Base(filepath.Dir(device))
		for end := time.Now().Add(wait); ; time.Sleep(20 * time.Millisecond) {
			attached, err := detachLoop(device, ours)
			if err != nil {
				return err
			}
			if !attached || wait == 0 {
				break
			}
			if time.Now().After(end) {
				return fmt.Errorf("%s is still in use after %s: something has its filesystem mounted", device, wait)
			}
		}
	}
	return nil
}

// detachLoop detaches the device, at once or when the last who has it open is gone; it says whether it was attached.
func detachLoop(path string, ours map[inode]bool) (attached bool, err error) {
	device, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return false, nil // no node for it here: the host's own devices have one
	}
	defer device.Close()
	status, err := unix.IoctlLoopGetStatus64(int(device.Fd()))
	if err != nil {
		return false, nil // detached meanwhile
	}
	if !ours[inode{status.Device, status.Inode}] {
		return false, nil
	}
	if err := unix.IoctlSetInt(int(device.Fd()), unix.LOOP_CLR_FD, 0); err != nil && err != unix.ENXIO {
		return true, fmt.Errorf("detach %s: %w", path, err)
	}
	return true, nil
}
