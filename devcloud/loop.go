package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// inode is a file, whatever it is called: the kernel forgets the path of a loop device's file when the mount
// namespace that knew it is gone.
type inode struct{ device, number uint64 }

// detachLoops detaches each loop device whose file lies below one of the folders. Loop devices are the one thing
// that may outlive the box: they belong to no namespace.
func detachLoops(folders ...string) error {
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
		if err := detachLoop("/dev/"+filepath.Base(filepath.Dir(device)), ours); err != nil {
			return err
		}
	}
	return nil
}

func detachLoop(path string, ours map[inode]bool) error {
	device, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil // no node for it here: the host's own devices have one
	}
	defer device.Close()
	status, err := unix.IoctlLoopGetStatus64(int(device.Fd()))
	if err != nil {
		return nil // detached meanwhile
	}
	if !ours[inode{status.Device, status.Inode}] {
		return nil
	}
	if err := unix.IoctlSetInt(int(device.Fd()), unix.LOOP_CLR_FD, 0); err != nil && err != unix.ENXIO {
		return fmt.Errorf("detach %s: %w", path, err)
	}
	return nil
}
