"""A machine: one systemd-nspawn, from its folder to its processes.

Its control groups are its identity: what runs in them is the machine, when nothing does it is off. That holds when
nova-compute starts again, when any process of the machine was killed, and when the whole box was: there is no PID file
that could lie.
"""
import os
import signal
import time

from nova import conf
from nova.virt.nspawn.command import attempt, run

CONF = conf.CONF

CGROUPS = '/sys/fs/cgroup'
HERE = os.path.dirname(os.path.abspath(__file__))
LAUNCHER = os.path.join(HERE, '..', 'nspawn-launch')
ENTER = os.path.join(HERE, '..', 'nspawn-enter')

# What systemd-nspawn refuses by default and a Kubernetes node needs.
SYSTEM_CALLS = '@keyring @module @mount bpf'

# containerd's and the kubelet's own overlays: an overlay, as the machine's root is one, cannot be the upper layer of
# another. They are plain folders of the machine's disk, bound over the root.
PLAIN_FOLDERS = ('/var/lib/containerd', '/var/lib/kubelet')

# What the driver gives a machine is below its /run: its disk may be full.
KERNEL_UNIT = 'nspawn-kernel.service'
TMPFILES = '/run/tmpfiles.d'

CONSOLE_BYTES = 1 << 20  # of the console's output, so much is kept at least


class Machine:
    """The systemd-nspawn machine of the instance with this UUID, which need not exist yet.

    Its folder, <instances_path>/<uuid>, has
        image         link to the folder where the image is mounted
        disk.ext4     its disk: as large as its flavor says, though its holes take no space
        disk/         it, mounted, with
            upper/ work/  the machine's own layer over the image
            plain/        what is bound over root (PLAIN_FOLDERS)
        root/         image and upper, mounted
        tmpfiles.d/   what its systemd-tmpfiles makes at each boot (volume.py)
        volumes.json  attached volumes (volume.py)
        console.log   what it wrote to its console
    """

    def __init__(self, uuid):
        self.uuid = uuid
        self.folder = os.path.join(CONF.instances_path, uuid)
        self.root = self.path('root')
        self.netns = 'nova-' + uuid
        self.cgroups = [os.path.join(hierarchy, 'nova-' + uuid) for hierarchy in _cgroup_hierarchies()]

    def path(self, *names):
        """Path of a file of the machine's folder."""
        return os.path.join(self.folder, *names)

    def exists(self):
        return os.path.isdir(self.folder)

    # The root filesystem

    def create(self, image, disk_gb):
        """Make the machine's folder over an image, a mounted root filesystem; mount_root is next."""
        for name in ('disk', 'root', 'tmpfiles.d'):
            os.makedirs(self.path(name))
        os.symlink(image, self.path('image'))
        with open(self.path('disk.ext4'), 'wb') as file:
            file.truncate(max(disk_gb, 1) << 30)
        # Nothing is written that is not used.
        run('mkfs.ext4', '-q', '-m', '0', '-E', 'lazy_itable_init=1,lazy_journal_init=1,nodiscard', file.name)
        self._mount_disk()
        for path in ('upper', 'work', *map(_plain, PLAIN_FOLDERS)):
            os.makedirs(self.path('disk', path))

    def _mount_disk(self):
        # The loop device goes with the mount. What the machine deletes takes no space any more (discard).
        run('mount', '-t', 'ext4', '-o', 'loop,noinit_itable,discard', self.path('disk.ext4'), self.path('disk'))

    def mount_root(self):
        """Mount the root filesystem, unless it is."""
        if not os.path.ismount(self.path('disk')):
            self._mount_disk()
        if not os.path.ismount(self.root):
            run('mount', '-t', 'overlay', 'nova-' + self.uuid, self.root, '-o', 'lowerdir=%s,upperdir=%s,workdir=%s' % (
                os.path.realpath(self.path('image')), self.path('disk', 'upper'), self.path('disk', 'work')))

    def write(self, path, content, mode=0o644):
        """Write a file of the root filesystem; content is str or bytes."""
        path = os.path.join(self.root, path.lstrip('/'))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'wb') as file:
            os.fchmod(file.fileno(), mode)
            file.write(content.encode() if isinstance(content, str) else content)

    def remove(self):
        """Remove all that is left of a machine that is off, but for its network and its volumes."""
        for mount in (self.root, self.path('disk')):
            if os.path.ismount(mount):
                run('umount', mount)
        run('rm', '--recursive', '--force', '--one-file-system', self.folder)

    # The processes

    def processes(self):
        """The PIDs of all that runs in it, and of what runs it."""
        for cgroup, _, _ in os.walk(self.cgroups[0]):
            try:
                with open(os.path.join(cgroup, 'cgroup.procs')) as procs:
                    yield from map(int, procs.read().split())
            except OSError:
                pass  # gone meanwhile

    def is_running(self):
        return any(True for _ in self.processes())

    def leader(self):
        """The PID of its init; None when it has none (yet)."""
        for pid in self.processes():
            try:
                with open('/proc/%d/status' % pid) as status:
                    pids = next(line.split()[1:] for line in status if line.startswith('NSpid:'))
            except (OSError, StopIteration):
                continue
            if len(pids) == 2 and pids[1] == '1':  # deeper ones are the first processes of its containers
                return pid

    def start(self, hostname, vcpus, memory_mb):
        """Boot it, unless it runs.

        :returns: whether it runs now; if not, its console tells why
        """
        if self.is_running():
            return True
        self._make_cgroups({
            'cpu.cfs_quota_us': vcpus * 100000, 'cpu.max': '%d 100000' % (vcpus * 100000),
            'memory.limit_in_bytes': memory_mb << 20, 'memory.max': memory_mb << 20})
        run('setsid', '--fork',
            # /proc/sys and /sys are the host's: only what belongs to the machine's own network may be written. That
            # /sys is read-only also keeps udev away.
            'env', 'SYSTEMD_NSPAWN_API_VFS_WRITABLE=network', 'SYSTEMD_NSPAWN_LOCK=0',
            LAUNCHER, self.path('console.log'), self.netns, ' '.join(self.cgroups),
            'systemd-nspawn', '--quiet', '--boot', '--directory=' + self.root,
            '--machine=' + self.uuid, '--uuid=' + self.uuid, '--hostname=' + hostname,
            '--register=no', '--keep-unit',  # the host has no systemd-machined
            '--capability=all', '--system-call-filter=' + SYSTEM_CALLS,
            '--console=read-only', '--link-journal=no', '--resolv-conf=off', '--timezone=off',
            '--bind=/dev/kmsg',  # the kubelet learns there of processes that were out of memory
            *('--bind=%s:%s' % (self.path('disk', _plain(folder)), folder) for folder in PLAIN_FOLDERS),
            '--bind=%s:%s' % (self.path('tmpfiles.d'), TMPFILES),
            '--bind-ro=%s:/run/systemd/system/%s' % (os.path.join(HERE, KERNEL_UNIT), KERNEL_UNIT),
            'systemd.wants=' + KERNEL_UNIT)
        return wait(lambda: self.leader() or not self.is_running(), 30) and self.is_running()

    def stop(self, timeout):
        """Have it shut itself down for timeout seconds, at once when 0; then kill what is left of it."""
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
        """Run a command of the machine's in it; its output, or None when the machine is off or it fails."""
        return attempt(ENTER, self.folder, *command)

    def console(self, size):
        """The last bytes, at most size, that it wrote to its console."""
        try:
            with open(self.path('console.log'), 'rb') as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - size))
                return file.read()
        except FileNotFoundError:
            return b''

    def trim_console(self):
        """Give back what the disk holds of the console's old output, once that is much; the file's length stays."""
        try:
            file = os.stat(self.path('console.log'))
        except FileNotFoundError:
            return
        if file.st_blocks * 512 > 2 * CONSOLE_BYTES:
            old = str(file.st_size - CONSOLE_BYTES)
            attempt('fallocate', '--punch-hole', '--length', old, self.path('console.log'))

    def _make_cgroups(self, limits):
        """:param limits: what to write to which file, where the hierarchy has it: cgroup v1's and v2's"""
        for cgroup in self.cgroups:
            os.makedirs(cgroup, exist_ok=True)
            for name in ('cpuset.cpus', 'cpuset.mems'):  # v1's, that no process may be without
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
    """The UUIDs of the machines that have a folder."""
    return [name for name in os.listdir(CONF.instances_path) if os.path.islink(Machine(name).path('image'))]


def wait(condition, timeout):
    """Wait until condition() is true, at most timeout seconds; returns whether it is."""
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
