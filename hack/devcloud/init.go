package main

import (
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"kubernetes-openstack/internal/mirror"
)

// configs are the services' configuration files, which the box has in /etc.
//
//go:embed etc
var configs embed.FS

// drivers are Nova's compute driver with its scripts, Cinder's driver, and the program that runs Swift.
//
//go:embed nova cinder swift
var drivers embed.FS

// The first process changes namespaces and executes itself again, and it does so in its first thread. In another
// thread, the first thread would be a zombie during the exec, and the process would seem to have ended.
func init() {
	if len(os.Args) > 1 && os.Args[1] == "init" {
		runtime.LockOSThread()
	}
}

// initialize is the box's first process. It creates the box's root and becomes the supervisor. It starts in namespaces
// that still have the host's mounts.
func initialize() error {
	var box Box
	if err := json.NewDecoder(os.Stdin).Decode(&box); err == io.EOF {
		return nil // up ended before it had recorded this process
	} else if err != nil {
		return err
	}
	// Go cannot move all threads to another cgroup namespace. So this thread moves, and exec makes it the only one.
	for _, h := range box.Hierarchies {
		if err := os.WriteFile(filepath.Join(h.Mount, box.Cgroup, "cgroup.procs"), []byte("0"), 0); err != nil {
			return err
		}
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	argument, err := json.Marshal(box)
	if err != nil {
		return err
	}
	return syscall.Exec("/proc/self/exe", []string{"devcloud", "init2", string(argument)}, os.Environ())
}

// initialize2 is the box's first process in its own cgroup namespace.
func initialize2(argument string) error {
	var box Box
	if err := json.Unmarshal([]byte(argument), &box); err != nil {
		return err
	}
	if err := box.makeRoot(); err != nil {
		return err
	}
	if err := shareCgroups(); err != nil {
		return err
	}
	if err := box.configure(); err != nil {
		return err
	}
	for i, port := range box.Ports {
		file := os.NewFile(uintptr(3+i), "listener")
		listener, err := net.FileListener(file)
		if err != nil {
			return err
		}
		file.Close()
		if port == proxyPort {
			go http.Serve(listener, proxy(netip.MustParsePrefix(externalCIDR), netip.MustParsePrefix(behindRouter)))
		} else {
			go forward(listener, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		}
	}
	if err := box.serveDownloads(mirror.Handler(os.DirFS("/srv/mirror"))); err != nil {
		return err
	}
	for _, port := range apiPorts() { // instances use the catalogue's internal endpoints
		listener, err := net.Listen("tcp", net.JoinHostPort(externalGateway, strconv.Itoa(port)))
		if err != nil {
			return err
		}
		go forward(listener, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	}
	s := supervisor{logs: "/var/log/devcloud", report: func(units []Unit) {
		if err := saveJSON("/run/devcloud/units.json", units); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}}
	s.run(selectServices(services(box.Compute), box.Conditions))
	return nil
}

// serveDownloads serves the mirror to the instances, by its own address or only through the proxy.
func (b Box) serveDownloads(files http.Handler) error {
	address := mirrorAddress
	if slices.Contains(b.Variants, egressVariant) {
		ca, sign, err := newCA()
		if err != nil {
			return err
		}
		if err := os.WriteFile("/run/devcloud/"+companyCA, ca, 0o644); err != nil {
			return err
		}
		address, files = egressAddress, egress(files, sign)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	go http.Serve(listener, files)
	return nil
}

// mount is one mount below the new root.
type mount struct {
	target, source, fstype string
	flags                  uintptr
	options                string
}

// makeRoot mounts the box's root filesystem and unmounts the host's.
func (b Box) makeRoot() error {
	const plain = unix.MS_NOSUID | unix.MS_NODEV
	base := filepath.Join(b.State, "root")
	root := filepath.Join(base, "merged")
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make / private: %w", err)
	}
	// The upper layer is in memory, so everything except for the kept data is new at each start.
	if err := do(mount{base, "tmpfs", "tmpfs", 0, "mode=755"}); err != nil {
		return err
	}
	for _, folder := range []string{"lower", "upper", "work"} {
		if err := os.Mkdir(filepath.Join(base, folder), 0o755); err != nil {
			return err
		}
	}
	// mount(8) sets up a loop device that ends with its mount.
	if output, err := exec.Command("mount", "-t", "squashfs", "-o", "ro,loop", b.Rootfs,
		base+"/lower").CombinedOutput(); err != nil {
		return fmt.Errorf("mount %s: %w: %s", b.Rootfs, err, output)
	}
	mounts := []mount{
		{"", "devcloud", "overlay", 0, fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", base)},
		{"proc", "proc", "proc", plain | unix.MS_NOEXEC, ""},
		{"sys", "sysfs", "sysfs", plain | unix.MS_NOEXEC, ""},
		{"dev", "tmpfs", "tmpfs", unix.MS_NOSUID, "mode=755"},
		{"dev/pts", "devpts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620,gid=5"},
		{"dev/shm", "tmpfs", "tmpfs", plain, "mode=1777"},
		{"run", "tmpfs", "tmpfs", plain, "mode=755"},
		{"run/lock", "tmpfs", "tmpfs", plain, "mode=1777"},
		{"tmp", "tmpfs", "tmpfs", plain, "mode=1777"},
		{"run/devcloud", b.State + "/run", "", unix.MS_BIND, ""},
		{"var/log/devcloud", b.State + "/log", "", unix.MS_BIND, ""},
		{"srv/mirror", b.Mirror, "", unix.MS_BIND, ""},
		{"srv/mirror", "", "", unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY | plain, ""},
		{cgroupRoot, "tmpfs", "tmpfs", plain, "mode=755"},
	}
	for _, h := range b.Hierarchies {
		mounts = append(mounts, mount{h.Mount, "cgroup", h.Type, plain | unix.MS_NOEXEC, h.Options})
	}
	for _, folder := range keptFolders {
		mounts = append(mounts, mount{"var/lib/" + folder, filepath.Join(b.State, "data", folder), "", unix.MS_BIND, ""})
	}
	for _, m := range mounts {
		m.target = filepath.Join(root, m.target)
		if err := do(m); err != nil {
			return err
		}
	}
	if err := makeDevices(filepath.Join(root, "dev")); err != nil {
		return err
	}

	old := filepath.Join(root, "mnt")
	if err := unix.PivotRoot(root, old); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if err := unix.Unmount("/mnt", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount the host's root: %w", err)
	}
	// as in a booted system, because `ip netns` requires it
	return unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, "")
}

// keptFolders are the folders in /var/lib that stay when the box ends. They are on the host's filesystem, because the
// instances' overlays cannot be on the box's overlay.
var keptFolders = []string{"mysql", "keystone", "glance", "nova", "cinder"}

func do(m mount) error {
	if err := os.MkdirAll(m.target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(m.source, m.target, m.fstype, m.flags, m.options); err != nil {
		return fmt.Errorf("mount %s on %s: %w", m.source, m.target, err)
	}
	return nil
}

// makeDevices creates the device nodes in /dev.
func makeDevices(dev string) error {
	type device struct{ mode, major, minor uint32 }
	const char, block = unix.S_IFCHR | 0o666, unix.S_IFBLK | 0o660
	devices := map[string]device{
		"null": {char, 1, 3}, "zero": {char, 1, 5}, "full": {char, 1, 7}, "random": {char, 1, 8}, "urandom": {char, 1, 9},
		"kmsg": {char, 1, 11}, "tty": {char, 5, 0}, "fuse": {char, 10, 229}, "net/tun": {char, 10, 200},
		"kvm": {char, 10, 232}, "loop-control": {char, 10, 237},
	}
	for i := range uint32(64) { // loop devices with higher numbers have no node here
		devices["loop"+strconv.Itoa(int(i))] = device{block, 7, i}
	}
	if err := os.Mkdir(filepath.Join(dev, "net"), 0o755); err != nil {
		return err
	}
	mask := unix.Umask(0)
	defer unix.Umask(mask)
	for name, d := range devices {
		if err := unix.Mknod(filepath.Join(dev, name), d.mode, int(unix.Mkdev(d.major, d.minor))); err != nil {
			return fmt.Errorf("mknod %s: %w", name, err)
		}
	}
	for name, target := range map[string]string{"ptmx": "pts/ptmx", "fd": "/proc/self/fd",
		"stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"} {
		if err := os.Symlink(target, filepath.Join(dev, name)); err != nil {
			return err
		}
	}
	return nil
}

// configure creates the box's files, its hostname and its networks: the external network, which is a bridge without a
// connection to the host, and the networks behind the router.
func (b Box) configure() error {
	if err := unpack(configs, "etc", "/etc"); err != nil {
		return err
	}
	for _, variant := range b.Variants {
		if err := appendVariant(variant, "/etc"); err != nil {
			return err
		}
	}
	if err := unpack(drivers, ".", "/opt/devcloud"); err != nil {
		return err
	}
	if err := os.Symlink("/opt/devcloud/nova/ebtables", "/usr/local/sbin/ebtables"); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte("devcloud")); err != nil {
		return err
	}
	commands := append([]string{
		"ip link set lo up",
		"ip link add br-ext type bridge",
		"ip address add " + externalGateway + "/24 dev br-ext",
		"ip link set br-ext up",
	}, connectRouter...)
	for _, command := range commands {
		words := strings.Fields(command)
		if output, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", command, err, output)
		}
	}
	return nil
}

// unpack writes an embedded folder; scripts become executable.
func unpack(files fs.FS, folder, target string) error {
	return fs.WalkDir(files, folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(target, strings.TrimPrefix(path, folder))
		if entry.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		content, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if strings.HasPrefix(string(content), "#!") {
			mode = 0o755
		}
		return replaceFile(to, content, mode) // a file of a package may be a link
	})
}

// forward connects each client of the listener, which is in the host's network, to an address in the box's network.
func forward(listener net.Listener, address string) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			server, err := net.Dial("tcp", address)
			if err != nil {
				client.Close()
				return
			}
			splice(client, client, server)
		}()
	}
}
