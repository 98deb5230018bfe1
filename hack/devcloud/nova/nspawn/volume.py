"""Volumes of a machine: files that Cinder has here, as loop devices.

A loop device belongs to no namespace: it would outlive the box. So each is made to end with the last process that has
it open, and a holder, a sleeping process, has it open as long as the volume is attached.

In the machine a volume is /dev/vdX and /dev/disk/by-id/virtio-<first 20 characters of its ID>, as with KVM. Its own
systemd-tmpfiles makes them, at each boot and when a volume comes to a running machine.
"""
import fcntl
import json
import os
import re
import signal
import struct

from nova.virt.nspawn.command import run
from nova.virt.nspawn.machine import wait
from oslo_log import log

LOG = log.getLogger(__name__)

TMPFILES = 'nova-volumes.conf'
SHUTDOWN = 0x8004587d  # EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN: write what is dirty, then fail

# Prints its PID, so that the device is held and marked to be detached when this returns.
HOLDER = 'exec 9<>"$1" && losetup --detach "$1" && echo $$ && exec sleep infinity >/dev/null 2>&1'


def attach(machine, connection_info, device):
    """Attach a volume, unless it is; device is the name that Nova chose, /dev/vdX."""
    volumes, volume_id = _load(machine), _volume_id(connection_info)
    if volume_id in volumes and _is_held(volumes[volume_id]):
        return
    loop = run('losetup', '--find', '--show', connection_info['data']['device_path']).strip()
    holder = int(run('setsid', '--fork', 'sh', '-c', HOLDER, 'sh', loop))
    volumes[volume_id] = {'device': device, 'loop': loop, 'holder': holder}
    _save(machine, volumes)
    machine.enter('systemd-tmpfiles', '--create', TMPFILES)


def detach(machine, connection_info):
    """Detach a volume, if it is attached; a filesystem of it that the machine still has mounted ends first."""
    volumes, volume_id = _load(machine), _volume_id(connection_info)
    volume = volumes.pop(volume_id, None)
    if volume:
        if machine.leader():
            _pull(machine, volume)
            machine.enter('rm', '-f', volume['device'], _link(volume_id))
        _release(volume)
        _save(machine, volumes)


def grow(machine, connection_info):
    """Have a machine see how large a volume is that has grown, unless it sees that when it starts."""
    volume = _load(machine).get(_volume_id(connection_info))
    if volume and _is_held(volume):
        run('losetup', '--set-capacity', volume['loop'])


def detach_all(machine):
    """Detach what a machine that is off still has, whatever Nova knows of it."""
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
        lines.append('L+ %s - - - - ../..%s\n' % (_link(volume_id), volume['device'][len('/dev'):]))
    with open(machine.path('tmpfiles.d', TMPFILES), 'w') as file:
        file.writelines(['# Written by Nova: the attached volumes.\n', *lines])


def _is_held(volume):
    """Whether the holder is what was recorded, not a process that got its PID in a box that was started later."""
    try:
        return os.readlink('/proc/%d/fd/9' % volume['holder']) == volume['loop']
    except OSError:
        return False


def _release(volume):
    if not _is_held(volume):
        return
    os.kill(volume['holder'], signal.SIGKILL)
    backing = '/sys/block/%s/loop/backing_file' % os.path.basename(volume['loop'])
    # A machine that ended a moment ago may still be writing back what it had mounted.
    if not wait(lambda: not os.path.exists(backing), 20):
        LOG.warning('%s is still open in the machine and goes with its last process that has it open', volume['loop'])


def _pull(machine, volume):
    """Take a device away from those who have it mounted, as pulling a disk would: what was written is on it, what
    comes later fails. Without that, the machine would go on writing to a volume that Cinder believes to be free.
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
            LOG.warning('%s: its filesystem cannot be shut down: %s', volume['loop'], error)
        finally:
            os.close(folder)
