"""A machine: one systemd-nspawn, from its folder to its processes.

Its control groups identify its processes. If they contain no process, the machine is off. This is correct after a
restart of nova-compute, after a kill of any process of the machine, and after a kill of the whole box. A PID file would
not be.
"""
import os
import signal
import struct
import time

from nova import conf
from nova.virt.nspawn.command import attempt, run

CONF = conf.CONF

CGROUPS = '/sys/fs/cgroup'
HERE = os.path.dirname(os.path.abspath(__file__))
LAUNCHER = os.path.join(HERE, '..', 'nspawn-launch')
ENTER = os.path.join(HERE, '..', 'nspawn-enter')

# System calls that a Kubernetes node needs and systemd-nspawn refuses by default.
SYSTEM_CALLS = '@keyring @module @mount bpf'

# containerd and kubelet create overlays in these folders. The machine's root is an overlay, which cannot be the upper
# layer of another one. So these folders are plain folders of the machine's disk, with bind mounts over the root.
PLAIN_FOLDERS = ('/var/lib/containerd', '/var/lib/kubelet')

# The driver's files for a machine are below /run, because the machine's disk may be full.
KERNEL_UNIT = 'nspawn-kernel.service'
TMPFILES = '/run/tmpfiles.d'

CONSOLE_BYTES = 1 << 20  # minimum of console output that is kept


class Machine:
    """The systemd-nspawn machine of the instance with this UUID. It may not exist yet.

    Its folder, <instances_path>/<uuid>, has
        image         link to the folder of the mounted image
        boot/         mount of the image on the volume from which it boots, if there is one
        disk.ext4     its disk: a sparse file with the size of its flavor, or a link to this volume
        disk/         mount of disk.ext4, with
            upper/ work/  the machine's own layer over the image
            plain/        folders that are bound over root (PLAIN_FOLDERS)
        root/         overlay mount of image and upper
        tmpfiles.d/   configuration of its systemd-tmpfiles (volume.py)
        volumes.json  attached volumes (volume.py)
        console.log   its console output
    """

    def __init__(self, uuid):
        self.uuid = uuid
        self.folder = os.path.join(CONF.instances_path, uuid)
        self.root = self.path('root')
        self.netns = 'nova-' + uuid
        self.cgroups = [os.path.join(hierarchy, 'nova-' + uuid) for hierarchy in _cgroup_hierarchies()]

    def path(self, *names):
        """Return the path of a file in the machine's folder."""
        return os.path.join(self.folder, *names)

    def exists(self):
        return os.path.isdir(self.folder)

    # Root filesystem

    def create(self, image, disk_gb=0, volume=None):
        """Create the machine's folder. image is the folder where its image is mounted before the next step, mount_root.

        The disk is a new file of disk_gb, or the part behind the image in a volume's file.
        """
        for name in ('disk', 'root', 'tmpfiles.d'):
            os.makedirs(self.path(name))
        os.symlink(image, self.path('image'))
        disk = self.path('disk.ext4')
        if volume:
            os.symlink(volume, disk)
        else:
            with open(disk, 'wb') as file:
                file.truncate(max(disk_gb, 1) << 30)
        offset = image_bytes(disk)
        # Writes no unused blocks.
        run('mkfs.ext4', '-q', '-m', '0', '-E', 'lazy_itable_init=1,lazy_journal_init=1,nodiscard,offset=%d' % offset,
            disk, '%dk' % (os.path.getsize(disk) - offset >> 10))
        self._mount_disk()
        for path in ('upper', 'work', *map(_plain, PLAIN_FOLDERS)):
            os.makedirs(self.path('disk', path))

    def _mount_disk(self):
        # The loop device ends with the mount. discard frees the host's disk space when the machine deletes files.
        disk = self.path('disk.ext4')
        run('mount', '-t', 'ext4', '-o', 'loop,noinit_itable,discard,offset=%d' % image_bytes(disk), disk,
            self.path('disk'))

    def mount_root(self):
        """Mount the root filesystem if it is not mounted."""
        if not os.path.ismount(self.path('disk')):
            self._mount_disk()
        if not os.path.ismount(self.root):
            run('mount', '-t', 'overlay', 'nova-' + self.uuid, self.root, '-o', 'lowerdir=%s,upperdir=%s,workdir=%s' % (
                os.path.realpath(self.path('image')), self.path('disk', 'upper'), self.path('disk', 'work')))

    def write(self, path, content, mode=0o644):
        """Write a file in the root filesystem. content is str or bytes."""
        path = os.path.join(self.root, path.lstrip('/'))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'wb') as file:
            os.fchmod(file.fileno(), mode)
            file.write(content.encode() if isinstance(content, str) else content)

    def sync(self):
        """Write everything to the machine's disk, so that it survives `devcloud power-cut`."""
        run('sync', '--file-system', self.path('disk'))

    def remove(self):
        """Remove the files of a machine that is off. Its network and volumes stay."""
        for mount in (self.root, self.path('disk'), self.path('boot')):
            if os.path.ismount(mount):
                run('umount', mount)
        run('rm', '--recursive', '--force', '--one-file-system', self.folder)

    # Processes

    def processes(self):
        """Yield the PIDs of its processes, including those of systemd-nspawn."""
        for cgroup, _, _ in os.walk(self.cgroups[0]):
            try:
                with open(os.path.join(cgroup, 'cgroup.procs')) as procs:
                    yield from map(int, procs.read().split())
            except OSError:
                pass  # the group was removed meanwhile

    def is_running(self):
        return any(True for _ in self.processes())

    def leader(self):
        """Return the PID of its init, or None if there is none (yet)."""
        for pid in self.processes():
            try:
                with open('/proc/%d/status' % pid) as status:
                    pids = next(line.split()[1:] for line in status if line.startswith('NSpid:'))
            except (OSError, StopIteration):
                continue
            if len(pids) == 2 and pids[1] == '1':  # longer lists belong to its containers
                return pid

    def start(self, hostname, vcpus, memory_mb):
        """Boot the machine if it is off.

        :returns: True if it is running; otherwise its console has the reason
        """
        if self.is_running():
            return True
        self._make_cgroups({
            'cpu.cfs_quota_us': vcpus * 100000, 'cpu.max': '%d 100000' % (vcpus * 100000),
            'memory.limit_in_bytes': memory_mb << 20, 'memory.max': memory_mb << 20})
        run('setsid', '--fork',
            # /proc/sys and /sys are the host's. Only the settings of the machine's own network are writable. udev does
            # not start, because /sys is read-only.
            'env', 'SYSTEMD_NSPAWN_API_VFS_WRITABLE=network', 'SYSTEMD_NSPAWN_LOCK=0',
            LAUNCHER, self.path('console.log'), self.netns, ' '.join(self.cgroups),
            'systemd-nspawn', '--quiet', '--boot', '--directory=' + self.root,
            '--machine=' + self.uuid, '--uuid=' + self.uuid, '--hostname=' + hostname,
            '--register=no', '--keep-unit',  # the host has no systemd-machined
            '--capability=all', '--system-call-filter=' + SYSTEM_CALLS,
            '--console=read-only', '--link-journal=no', '--resolv-conf=off', '--timezone=off',
            '--bind=/dev/kmsg',  # kubelet reads reports of the OOM killer from it
            *('--bind=%s:%s' % (self.path('disk', _plain(folder)), folder) for folder in PLAIN_FOLDERS),
            '--bind=%s:%s' % (self.path('tmpfiles.d'), TMPFILES),
            '--bind-ro=%s:/run/systemd/system/%s' % (os.path.join(HERE, KERNEL_UNIT), KERNEL_UNIT),
            'systemd.wants=' + KERNEL_UNIT)
        return wait(lambda: self.leader() or not self.is_running(), 30) and self.is_running()

    def stop(self, timeout):
        """Shut the machine down. After timeout seconds, or at once if 0, kill the remaining processes."""
        leader = self.leader()
        if leader and timeout:
            _kill(leader, signal.SIGRTMIN + 3)  # systemd(1): halt
            wait(lambda: not self.is_running(), timeout)
        if not wait(self._killed, 30):
            raise RuntimeError('machine %s: processes %s do not end' % (self.uuid, list(self.processes())))
        for top in self.cgroups:
            for cgroup, _, _ in os.walk(top, topdown=False):
                wait(lambda: _remove_cgroup(cgroup), 10)

    def _killed(self):
        alive = list(self.processes())
        for pid in alive:
            _kill(pid, signal.SIGKILL)
        return not alive

    def enter(self, *command):
        """Run a command in the machine. Return its output, or None if it fails or the machine is off."""
        return attempt(ENTER, self.folder, *command)

    def console(self, size):
        """Return the last bytes of its console output, at most size."""
        try:
            with open(self.path('console.log'), 'rb') as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - size))
                return file.read()
        except FileNotFoundError:
            return b''

    def trim_console(self):
        """Free the disk space of old console output if it is large. The length of the file stays."""
        try:
            file = os.stat(self.path('console.log'))
        except FileNotFoundError:
            return
        if file.st_blocks * 512 > 2 * CONSOLE_BYTES:
            old = str(file.st_size - CONSOLE_BYTES)
            attempt('fallocate', '--punch-hole', '--length', old, self.path('console.log'))

    def _make_cgroups(self, limits):
        """:param limits: maps files of cgroup v1 and v2 to values; files that a hierarchy does not have are skipped"""
        for cgroup in self.cgroups:
            os.makedirs(cgroup, exist_ok=True)
            for name in ('cpuset.cpus', 'cpuset.mems'):  # with v1, a group accepts no process without them
                parent = os.path.join(os.path.dirname(cgroup), name)
                if os.path.exists(parent):
                    with open(parent) as file:
                        limits = dict(limits, **{name: file.read()})
            for name, value in limits.items():
                path = os.path.join(cgroup, name)
                if os.path.exists(path):
                    with open(path, 'w') as file:
                        file.write(str(value))


def all_uuids():
    """Return the UUIDs of all machines with a folder."""
    return [name for name in os.listdir(CONF.instances_path) if os.path.islink(Machine(name).path('image'))]


def image_bytes(path):
    """Return the size of the squashfs at the beginning of a file in whole MiB, as bytes. It is 0 if there is none."""
    with open(path, 'rb') as file:
        magic, size = struct.unpack('<4s36xQ', file.read(48).ljust(48, b'\0'))
    return -(-size >> 20) << 20 if magic == b'hsqs' else 0


def wait(condition, timeout):
    """Wait up to timeout seconds until condition() is true. Return False after the timeout."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def _plain(folder):
    return os.path.join('plain', folder.strip('/').replace('/', '-'))


def _cgroup_hierarchies():
    if os.path.exists(os.path.join(CGROUPS, 'cgroup.procs')):
        return [CGROUPS]  # cgroup v2
    hierarchies = [os.path.join(CGROUPS, name) for name in sorted(os.listdir(CGROUPS))]
    return [path for path in hierarchies if os.path.exists(os.path.join(path, 'cgroup.procs'))]


def _remove_cgroup(cgroup):
    try:
        os.rmdir(cgroup)
    except FileNotFoundError:
        pass
    except OSError:
        return False  # the last process is still ending
    return True


def _kill(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
