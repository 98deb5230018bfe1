package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cutPower cuts the power of a running instance: no data that it has not synced survives. Its filesystems stop before
// its processes, so a dying process writes nothing. Its network stops first, so it closes no connection. Nova then sets
// the instance to SHUTOFF. The next start mounts the disk again, which replays the journal.
func cutPower(instance string) error {
	record, err := runningBox()
	if err != nil {
		return err
	}
	folder, err := machineFolder(record.root(), instance)
	if err != nil {
		return err
	}
	group := filepath.Join(record.Cgroups[0], "nova-"+filepath.Base(folder))
	leader := firstProcess(processes(group))
	if leader == 0 {
		return fmt.Errorf("instance %s is not running", instance)
	}
	disks, err := openDisks(record.root(), folder, leader)
	if err != nil {
		return err
	}
	return errors.Join(
		disconnect(leader),
		shutDown(disks),
		killAll(group, 30*time.Second),
		unmount(record, folder),
	)
}

// processes returns the PIDs of the processes in a control group, and in all groups below it.
func processes(group string) (pids []int) {
	filepath.WalkDir(group, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Name() != "cgroup.procs" {
			return nil // the machine may delete a group meanwhile
		}
		content, _ := os.ReadFile(path)
		for line := range strings.FieldsSeq(string(content)) {
			if pid, err := strconv.Atoi(line); err == nil {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids
}

// firstProcess returns the PID of a machine's init, or 0. It is the first process of a PID namespace directly below
// that of the box. Longer lists of PIDs belong to the machine's containers.
func firstProcess(pids []int) int {
	for _, pid := range pids {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		_, namespaces, _ := strings.Cut(string(status), "\nNSpid:")
		namespaces, _, _ = strings.Cut(namespaces, "\n")
		if ids := strings.Fields(namespaces); len(ids) == 3 && ids[2] == "1" {
			return pid
		}
	}
	return 0
}

// openDisks opens the filesystem of a machine's disk, and those of the volumes that it has mounted. All other
// filesystems that the machine sees belong to the host. root is the root of the box, and folder the machine's folder.
func openDisks(root, folder string, leader int) (disks []*os.File, err error) {
	folder = filepath.Join(root, folder)
	disk, err := os.Open(filepath.Join(folder, "disk"))
	if err != nil {
		return nil, err
	}
	disks = append(disks, disk)
	var host, own unix.Stat_t
	if err := errors.Join(unix.Stat(folder, &host), unix.Fstat(int(disk.Fd()), &own)); err != nil {
		return nil, err
	}
	if host.Dev == own.Dev {
		return nil, fmt.Errorf("%s: the machine's disk is not mounted", disk.Name())
	}

	var volumes map[string]struct{ Loop string }
	content, err := os.ReadFile(filepath.Join(folder, "volumes.json"))
	if err == nil {
		err = json.Unmarshal(content, &volumes)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	devices := map[uint64]bool{}
	for _, volume := range volumes {
		var device unix.Stat_t
		if err := unix.Stat(filepath.Join(root, volume.Loop), &device); err != nil {
			return nil, fmt.Errorf("%s: %w", volume.Loop, err)
		}
		devices[device.Rdev] = true
	}
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", leader))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(mounts)) {
		field := strings.Fields(line)
		var major, minor uint32
		if _, err := fmt.Sscanf(field[2], "%d:%d", &major, &minor); err != nil {
			return nil, fmt.Errorf("mount %q: %w", line, err)
		}
		device := unix.Mkdev(major, minor)
		if !devices[device] {
			continue
		}
		file, err := os.Open(fmt.Sprintf("/proc/%d/root%s", leader, unescapeMount.Replace(field[4])))
		if err != nil {
			continue // it was unmounted meanwhile, or another mount of the same device follows
		}
		var found unix.Stat_t
		if err := unix.Fstat(int(file.Fd()), &found); err != nil || found.Dev != device {
			file.Close() // another mount covers this one
			continue
		}
		disks = append(disks, file)
		delete(devices, device)
	}
	return disks, nil
}

// unescapeMount replaces the escape sequences of paths in mountinfo.
var unescapeMount = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// disconnect stops the network interfaces of a machine.
func disconnect(leader int) error {
	output, err := exec.Command("nsenter", "--target", strconv.Itoa(leader), "--net",
		"ip", "link", "set", "group", "default", "down").CombinedOutput()
	if err != nil {
		return fmt.Errorf("disconnect the network: %w: %s", err, output)
	}
	return nil
}

const (
	fsShutdown = 0x8004587d // EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN: all further reads and writes fail
	noLogFlush = 2          // flag of fsShutdown: also drop the data and the journal that are not on the disk
)

// shutDown stops the filesystems of the opened files, and closes the files.
func shutDown(disks []*os.File) (err error) {
	for _, disk := range disks {
		if e := unix.IoctlSetPointerInt(int(disk.Fd()), fsShutdown, noLogFlush); e != nil {
			err = errors.Join(err, fmt.Errorf("stop the filesystem of %s: %w", disk.Name(), e))
		}
	}
	for _, disk := range disks {
		err = errors.Join(err, disk.Close())
	}
	return err
}

// killAll kills all processes of a control group, and waits until they have ended.
func killAll(group string, timeout time.Duration) error {
	for end := time.Now().Add(timeout); ; time.Sleep(10 * time.Millisecond) {
		pids := processes(group)
		if len(pids) == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("processes %v still exist %s after SIGKILL", pids, timeout)
		}
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("kill %d: %w", pid, err)
			}
		}
	}
}

// unmount unmounts a machine's filesystems, and waits until the kernel has released the disk.
func unmount(record Record, folder string) error {
	output, err := record.enter("umount", "--lazy", folder+"/root", folder+"/disk").CombinedOutput()
	if err != nil {
		return fmt.Errorf("unmount: %w: %s", err, output)
	}
	return detachLoops(30*time.Second, filepath.Join(record.root(), folder))
}
