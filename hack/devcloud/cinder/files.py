"""Cinder driver whose volumes are sparse files: volume_driver = files.FileDriver.

Snapshots and copies are sparse files, too. They share the source's blocks until one of them is written to. The copy is
instant, so it is consistent even if the volume is in use. The folder's filesystem must support reflinks. The driver is
for development: only one host has the files.
"""
import contextlib
import os

from cinder import interface
from cinder.volume import driver
from oslo_concurrency import processutils
from oslo_config import cfg
from oslo_utils import units

CONF = cfg.CONF


@interface.volumedriver
class FileDriver(driver.VolumeDriver):
    """See the module. VolumeDriver documents the methods."""

    VERSION = '1.0'

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

    def copy_image_to_volume(self, context, volume, image_service, image_id):
        with open(_path(volume), 'r+b') as file:
            image_service.download(context, image_id, file)

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
        # With this type Nova's libvirt driver uses a file, and with 'local' a block device.
        return {'driver_volume_type': 'gpfs', 'data': {'volume_id': volume.id, 'device_path': _path(volume)}}

    def terminate_connection(self, volume, connector, **kwargs):
        pass

    def _update_volume_stats(self):
        disk = os.statvfs(CONF.state_path)  # the host's disk, because the volumes' own filesystem is larger than it
        self._stats = {
            'volume_backend_name': self.configuration.volume_backend_name, 'vendor_name': 'devcloud',
            'driver_version': self.VERSION, 'storage_protocol': 'file', 'reserved_percentage': 0,
            'thin_provisioning_support': True, 'max_over_subscription_ratio': 100.0, 'online_extend_support': True,
            'total_capacity_gb': disk.f_blocks * disk.f_frsize / units.Gi,
            'free_capacity_gb': disk.f_bavail * disk.f_frsize / units.Gi}


def _path(resource):
    return os.path.join(CONF.state_path, 'volumes', resource.name)


def _grow(volume, gib):
    with open(_path(volume), 'ab') as file:
        file.truncate(gib * units.Gi)


def _remove(resource):
    with contextlib.suppress(FileNotFoundError):
        os.remove(_path(resource))


def _copy(source, target):
    processutils.execute('cp', '--reflink=always', _path(source), _path(target))
