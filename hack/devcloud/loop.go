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

// inode identifies a file without its path. The kernel loses the path of a loop device's file when the mount namespace
// of the path ends.
type inode struct{ device, number uint64 }

// detachLoops detaches each loop device whose file is below one of the folders, or on a filesystem on such a device.
// Loop devices may outlive the box, because they belong to no namespace. detachLoops waits until the devices are free,
// up to the given time. If a file is mounted again while data of its old mount is still being written, the filesystem
// is destroyed.
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
			return fmt.Errorf("%v is still in use after %s: its filesystem is mounted somewhere", attached, wait)
		}
	}
}

// filesBelow returns the files in the folders, recursively.
func filesBelow(folders ...string) (map[inode]bool, error) {
	files := map[inode]bool{}
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return nil // the file was deleted meanwhile, or the folder does not exist
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

// isOn returns true if the device's file is one of files, or on the filesystem of such a device.
func (l loop) isOn(files map[inode]bool, devices map[uint64]loop) bool {
	below, nested := devices[l.backing.device]
	return files[l.backing] || nested && below.isOn(files, devices)
}

// detachOnce detaches the devices of the files. The kernel detaches a device that is open when it is closed. detachOnce
// returns the devices that were attached.
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
			continue // a device without a node is not the host's
		}
		defer device.Close() // as long as it is open, no other file can get the device
		var stat unix.Stat_t
		if err := unix.Fstat(int(device.Fd()), &stat); err != nil {
			return err
		}
		if status, err := unix.IoctlLoopGetStatus64(int(device.Fd())); err == nil { // otherwise it was detached meanwhile
			devices[stat.Rdev] = loop{device, inode{status.Device, status.Inode}}
		}
	}
	for _, device := range devices {
		if device.isOn(files, devices) {
			if err := each(device); err != nil {
				return err
			}
		}
	}
	return nil
}
