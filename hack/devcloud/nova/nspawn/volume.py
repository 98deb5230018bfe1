"""Volumes of a machine: loop devices on Cinder's files.

A loop device belongs to no namespace, so it could outlive the box. Each device is set to end with the last process that
has it open. A sleeping process, the holder, keeps it open as long as the volume is attached.

In the machine a volume is /dev/vdX and /dev/disk/by-id/virtio-<first 20 characters of its ID>, as with KVM. Its
systemd-tmpfiles creates them at each boot, and when a volume is attached to a running machine.
"""
import fcntl
import json
import os
import re
import signal
import struct

from nova import conf
from nova.virt.nspawn.command import run
from nova.virt.nspawn.machine import wait
from oslo_config import cfg
from oslo_log import log

CONF = conf.CONF
CONF.register_opt(cfg.BoolOpt('volume_serials', default=True, help='Machines have links in /dev/disk/by-id.'), 'nspawn')
LOG = log.getLogger(__name__)

TMPFILES = 'nova-volumes.conf'
SHUTDOWN = 0x8004587d  # EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN: write dirty data, then fail

# Prints its PID after it has opened the device and marked it for detaching.
HOLDER = 'exec 9<>"$1" && losetup --detach "$1" && echo $$ && exec sleep infinity >/dev/null 2>&1'


def path(connection_info):
    """Return the path of a volume's file."""
    return connection_info['data']['device_path']


def attach(machine, connection_info, device):
    """Attach a volume if it is not attached. device is the name that Nova chose, /dev/vdX."""
    volumes, volume_id = _load(machine), _volume_id(connection_info)
    if volume_id in volumes and _is_held(volumes[volume_id]):
        return
    loop = run('losetup', '--find', '--show', path(connection_info)).strip()
    holder = int(run('setsid', '--fork', 'sh', '-c', HOLDER, 'sh', loop))
    volumes[volume_id] = {'device': device, 'loop': loop, 'holder': holder}
    _save(machine, volumes)
    machine.enter('systemd-tmpfiles', '--create', TMPFILES)


def detach(machine, connection_info):
    """Detach a volume if it is attached. A filesystem that the machine still has mounted is shut down first."""
    volumes, volume_id = _load(machine), _volume_id(connection_info)
    volume = volumes.pop(volume_id, None)
    if volume:
        if machine.leader():
            _pull(machine, volume)
            machine.enter('rm', '-f', volume['device'], _link(volume_id))
        _release(volume)
        _save(machine, volumes)


def grow(machine, connection_info):
    """Update the size of a grown volume in a running machine. A machine that is off gets it at its start."""
    volume = _load(machine).get(_volume_id(connection_info))
    if volume and _is_held(volume):
        run('losetup', '--set-capacity', volume['loop'])


def detach_all(machine):
    """Detach all volumes of a machine that is off, including those that Nova does not list."""
    for volume in _load(machine).values():
        _release(volume)


def _volume_id(connection_info):
    return connection_info.get('serial') or connection_info['data']['volume_id']


def _link(volume_id):
    return '/dev/disk/by-id/virtio-' + volume_id[:20]


def _load(machine):
    try:
        with open(machine.path('volumes.json')) as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def _save(machine, volumes):
    with open(machine.path('volumes.json.new'), 'w') as file:
        json.dump(volumes, file)
    os.rename(file.name, machine.path('volumes.json'))
    lines = []
    for volume_id, volume in volumes.items():
        number = os.stat(volume['loop']).st_rdev
        lines.append('b+ %s 0660 root disk - %d:%d\n' % (volume['device'], os.major(number), os.minor(number)))
        if CONF.nspawn.volume_serials:
            lines.append('L+ %s - - - - ../..%s\n' % (_link(volume_id), volume['device'][len('/dev'):]))
    with open(machine.path('tmpfiles.d', TMPFILES), 'w') as file:
        file.writelines(['# Written by Nova: the attached volumes.\n', *lines])


def _is_held(volume):
    """Return True if the recorded holder is running. In a later box, another process may have its PID."""
    try:
        return os.readlink('/proc/%d/fd/9' % volume['holder']) == volume['loop']
    except OSError:
        return False


def _release(volume):
    if not _is_held(volume):
        return
    os.kill(volume['holder'], signal.SIGKILL)
    backing = '/sys/block/%s/loop/backing_file' % os.path.basename(volume['loop'])
    # The kernel may still be writing data of a machine that has just ended.
    if not wait(lambda: not os.path.exists(backing), 20):
        LOG.warning('%s is still open in the machine; it is detached when its last process closes it', volume['loop'])


def _pull(machine, volume):
    """Shut down the filesystems on a device, as if the disk were pulled. Earlier writes are on the disk, and later ones
    fail. Otherwise the machine would continue to write to a volume that Cinder treats as free.
    """
    number = os.stat(volume['loop']).st_rdev
    device, root = '%d:%d' % (os.major(number), os.minor(number)), '/proc/%d/root' % machine.leader()
    with open('/proc/%d/mountinfo' % machine.leader()) as file:
        mounts = [line.split()[4] for line in file if line.split()[2] == device]
    for mount in mounts:
        mount = re.sub(r'\\([0-7]{3})', lambda octal: chr(int(octal.group(1), 8)), mount)
        folder = os.open(root + mount, os.O_RDONLY)
        machine.enter('umount', '--lazy', mount)
        try:
            fcntl.ioctl(folder, SHUTDOWN, struct.pack('I', 0))
        except OSError as error:
            LOG.warning('%s: cannot shut down its filesystem: %s', volume['loop'], error)
        finally:
            os.close(folder)
