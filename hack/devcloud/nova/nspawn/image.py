"""Images: root filesystems as squashfs. Each is downloaded from Glance once, and mounted once for all machines."""
import os

from nova import conf
from nova import utils
from nova.image import glance
from nova.virt.nspawn import machine
from nova.virt.nspawn.command import run

CONF = conf.CONF


@utils.synchronized('nspawn-images')
def mounted(context, image_id):
    """Download and mount an image if necessary, and return the folder of the mount."""
    # The key is the checksum, because an image can be replaced by another one with the same ID.
    folder = os.path.join(_images(), glance.API().get(context, image_id)['checksum'])
    if not os.path.exists(folder + '.squashfs'):
        _remove_unused()
        glance.API().download(context, image_id, dest_path=folder + '.part')
        os.rename(folder + '.part', folder + '.squashfs')
    _mount(folder)
    return folder


@utils.synchronized('nspawn-images')
def remount(folder):
    """Mount the image of a folder that mounted() returned, if it is not mounted any more."""
    _mount(folder)


def mount_volume(folder, volume):
    """Mount the image at the beginning of a volume's file at a folder, which the machine owns."""
    os.symlink(volume, folder + '.squashfs')
    _mount(folder)


def _mount(folder):
    os.makedirs(folder, exist_ok=True)
    if not os.path.ismount(folder):
        file = folder + '.squashfs'
        # The loop ends with the mount. A second loop of a volume begins behind the image.
        run('mount', '-t', 'squashfs', '-o', 'loop,ro,sizelimit=%d' % machine.image_bytes(file), file, folder)


def _images():
    return os.path.join(CONF.instances_path, CONF.image_cache.subdirectory_name)


def _remove_unused():
    os.makedirs(_images(), exist_ok=True)
    used = {os.readlink(machine.Machine(uuid).path('image')) for uuid in machine.all_uuids()}
    for entry in list(os.scandir(_images())):
        if os.path.splitext(entry.path)[0] in used:
            continue
        if not entry.is_dir():
            os.unlink(entry.path)
            continue
        if os.path.ismount(entry.path):
            run('umount', entry.path)
        os.rmdir(entry.path)
