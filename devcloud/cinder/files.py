"""Cinder driver whose volumes are sparse files: volume_driver = files.FileDriver.

Snapshots and copies are files, too, and what is attached can grow. A filesystem that is mounted from a volume is frozen
while the volume is copied, so that a copy is whole as of one moment, as an array's would be. Only one host has the files:
it is made to try out what one would do on a cloud.
"""
import contextlib
import fcntl
import glob
import os
import re

from cinder import interface
from cinder.volume import driver
from oslo_concurrency import processutils
from oslo_config import cfg
from oslo_utils import units

CONF = cfg.CONF

FREEZE, THAW = 0xc0045877, 0xc0045878  # linux/fs.h: FIFREEZE, FITHAW


@interface.volumedriver
class FileDriver(driver.VolumeDriver):
    """See the module. What each method is for, VolumeDriver tells."""

    VERSION = '1.0'

    def do_setup(self, context):
        os.makedirs(_folder(), exist_ok=True)

    def check_for_setup_error(self):
        pass

    def create_volume(self, volume):
        _grow(volume, volume.size)

    def delete_volume(self, volume):
        _remove(volume)

    def create_snapshot(self, snapshot):
        _copy(snapshot.volume, snapshot)

    def delete_snapshot(self, snapshot):
        _remove(snapshot)

    def create_volume_from_snapshot(self, volume, snapshot):
        _copy(snapshot, volume)
        _grow(volume, volume.size)

    def create_cloned_volume(self, volume, src_vref):
        _copy(src_vref, volume)
        _grow(volume, volume.size)

    def extend_volume(self, volume, new_size):
        _grow(volume, new_size)

    def ensure_export(self, context, volume):
        pass

    def create_export(self, context, volume, connector):
        pass

    def remove_export(self, context, volume):
        pass

    def initialize_connection(self, volume, connector):
        return {'driver_volume_type': 'local', 'data': {'volume_id': volume.id, 'device_path': _path(volume)}}

    def terminate_connection(self, volume, connector, **kwargs):
        pass

    def _update_volume_stats(self):
        disk = os.statvfs(_folder())
        self._stats = {
            'volume_backend_name': self.configuration.volume_backend_name, 'vendor_name': 'devcloud',
            'driver_version': self.VERSION, 'storage_protocol': 'local', 'reserved_percentage': 0,
            'thin_provisioning_support': True, 'max_over_subscription_ratio': 100.0,
            'total_capacity_gb': disk.f_blocks * disk.f_frsize / units.Gi,
            'free_capacity_gb': disk.f_bavail * disk.f_frsize / units.Gi}


def _folder():
    return os.path.join(CONF.state_path, 'volumes')


def _path(thing):
    return os.path.join(_folder(), thing.name)


def _grow(volume, gib):
    with open(_path(volume), 'ab') as file:
        file.truncate(gib * units.Gi)


def _remove(thing):
    with contextlib.suppress(FileNotFoundError):
        os.remove(_path(thing))


def _copy(source, target):
    with _frozen(_path(source)):
        processutils.execute('cp', '--sparse=always', '--reflink=auto', _path(source), _path(target))


@contextlib.contextmanager
def _frozen(path):
    """Freeze the filesystems that are mounted from the loop devices of a file."""
    devices, _ = processutils.execute('losetup', '--noheadings', '--output', 'MAJ:MIN', '--associated', path)
    with contextlib.ExitStack() as frozen:
        for device in devices.split():
            folder = _mounted(device)
            if folder is not None:
                frozen.callback(os.close, folder)
                fcntl.ioctl(folder, FREEZE, 0)
                frozen.callback(fcntl.ioctl, folder, THAW, 0)
        yield


def _mounted(device):
    """An open folder of the filesystem on a device, in whichever machine it is mounted; None where it is in none."""
    for mountinfo in glob.glob('/proc/[0-9]*/mountinfo'):
        with contextlib.suppress(OSError), open(mountinfo) as file:
            for line in file:
                fields = line.split()
                if fields[2] == device and fields[3] == '/':
                    mount = re.sub(r'\\([0-7]{3})', lambda octal: chr(int(octal.group(1), 8)), fields[4])
                    return os.open(os.path.dirname(mountinfo) + '/root' + mount, os.O_RDONLY)
