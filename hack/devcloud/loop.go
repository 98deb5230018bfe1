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

// detachLoops detaches each loop device whose file lies below one of the folders, or on a filesystem that
// is on such a device. Loop devices are the one thing that may outlive the box: they belong to no
// namespace. It waits at most so long until they are free: who mounts a file once more while its old mount
// is still being written back destroys what is on it.
func detachLoops(wait time.Duration, folders ...string) error {
	ours, err := filesBelow(folders...)
	if err != nil {
		return err
	}
	for end := time.Now().Add(wait); ; time.Sleep(20 * time.Millisecond) {
		attached, err := detachOnce(ours)
		if err != nil {
			return err
		}
		if len(attached) == 0 || wait == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%v is still in use after %s: something has its filesystem mounted", attached, wait)
		}
	}
}

// filesBelow returns the files in the folders, recursively.
func filesBelow(folders ...string) (map[inode]bool, error) {
	files := map[inode]bool{}
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return nil // gone meanwhile, or never there
			}
			if info, err := entry.Info(); err == nil {
				stat := info.Sys().(*syscall.Stat_t)
				files[inode{stat.Dev, stat.Ino}] = true
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// loop is an attached loop device.
type loop struct {
	*os.File
	backing inode
}

// on says whether its file is one of those, or on a device that is.
func (l loop) on(files map[inode]bool, devices map[uint64]loop) bool {
	below, nested := devices[l.backing.device]
	return files[l.backing] || nested && below.on(files, devices)
}

// detachOnce detaches the devices of the files, at once or when the last who has it open is gone; it says which were
// attached.
func detachOnce(files map[inode]bool) (attached []string, err error) {
	err = eachLoop(files, func(device loop) error {
		attached = append(attached, device.Name())
		if err := unix.IoctlSetInt(int(device.Fd()), unix.LOOP_CLR_FD, 0); err != nil && err != unix.ENXIO {
			return fmt.Errorf("detach %s: %w", device.Name(), err)
		}
		return nil
	})
	return attached, err
}

// eachLoop calls each for the attached loop devices whose backing file is one of the files.
func eachLoop(files map[inode]bool, each func(loop) error) error {
	found, err := filepath.Glob("/sys/block/loop*/loop")
	if err != nil {
		return err
	}
	devices := map[uint64]loop{}
	for _, path := range found {
		device, err := os.OpenFile("/dev/"+filepath.Base(filepath.Dir(path)), os.O_RDWR, 0)
		if err != nil {
			continue // no node for it here: the host's own devices have one
		}
		defer device.Close() // as long as it is open, it is no other file's
		var stat unix.Stat_t
		if err := unix.Fstat(int(device.Fd()), &stat); err != nil {
			return err
		}
		if status, err := unix.IoctlLoopGetStatus64(int(device.Fd())); err == nil { // else it was detached meanwhile
			devices[stat.Rdev] = loop{device, inode{status.Device, status.Inode}}
		}
	}
	for _, device := range devices {
		if device.on(files, devices) {
			if err := each(device); err != nil {
				return err
			}
		}
	}
	return nil
}
