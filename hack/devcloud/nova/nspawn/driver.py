"""Nova driver whose instances are systemd-nspawn machines: compute_driver = nspawn.driver.NspawnDriver.

Instances boot an image's root filesystem on the host's kernel in seconds. They have ports of the real Neutron
(network.py), volumes of the real Cinder (volume.py) and a config drive. The driver must run as root on its own host,
which is devcloud's box here.

Instances are not isolated from the host: root in an instance has all capabilities on the host's kernel. The driver is
for development by users who are root on the host anyway.

It does not support resize, migration, snapshot, rescue or pause.
"""
import os
import re

import eventlet
from nova import conf
from nova import exception
from nova.api.metadata import base as metadata
from nova.compute import power_state
from nova.virt import driver
from nova.virt import event
from nova.virt import hardware
from nova.virt.nspawn import image
from nova.virt.nspawn import network
from nova.virt.nspawn import volume
from nova.virt.nspawn.command import run
from nova.virt.nspawn.machine import Machine, all_uuids
import os_resource_classes as orc
from oslo_log import log
from oslo_service import loopingcall
from oslo_utils import excutils

CONF = conf.CONF
LOG = log.getLogger(__name__)

SEED = '/var/lib/cloud/seed/config_drive'  # cloud-init reads a config drive from this folder, too
CONSOLE_BYTES = 100 << 10


class NspawnDriver(driver.ComputeDriver):
    """See the module. ComputeDriver documents the methods."""

    capabilities = dict(
        driver.ComputeDriver.capabilities, supports_attach_interface=True, supports_image_type_raw=True,
        supports_extend_volume=True)

    def init_host(self, host):
        os.makedirs(CONF.instances_path, exist_ok=True)
        self._running = set()
        loopingcall.FixedIntervalLoopingCall(self._report_stopped).start(interval=1)
        loopingcall.FixedIntervalLoopingCall(self._trim_consoles).start(interval=10)

    def _report_stopped(self):
        """Report instances that have shut down. Otherwise Nova sets them to SHUTOFF only at its next check."""
        running = {uuid for uuid in all_uuids() if Machine(uuid).is_running()}
        for uuid in self._running - running:
            self.emit_event(event.LifecycleEvent(uuid, event.EVENT_LIFECYCLE_STOPPED))
        self._running = running

    def _trim_consoles(self):
        for uuid in all_uuids():
            Machine(uuid).trim_console()

    # Lifecycle

    def spawn(self, context, instance, image_meta, injected_files, admin_password, allocations, network_info=None,
              block_device_info=None, power_on=True, accel_info=None):
        machine = Machine(instance.uuid)
        try:
            boot = _boot_volume(block_device_info)
            if boot:
                file = volume.path(boot['connection_info'])
                machine.create(machine.path('boot'), volume=file)  # before the mount: mkfs refuses a file in use
                image.mount_volume(machine.path('boot'), file)
            else:
                machine.create(image.mounted(context, instance.image_ref), instance.flavor.root_gb)
            machine.mount_root()
            self._write_config_drive(machine, instance, injected_files, admin_password, network_info)
            self._plug_and_wait(instance, network_info)
            self._connect(machine, block_device_info)
            if power_on:
                self._start(machine, instance)
        except Exception:
            with excutils.save_and_reraise_exception():
                self.destroy(context, instance, network_info, block_device_info)

    def _write_config_drive(self, machine, instance, injected_files, admin_password, network_info):
        content = metadata.InstanceMetadata(
            instance, content=injected_files, extra_md={'admin_pass': admin_password} if admin_password else {},
            network_info=network_info)
        for path, data in content.metadata_for_config_drive():
            machine.write(os.path.join(SEED, path), data, mode=0o600)
        machine.sync()  # a config drive is a disk of its own

    def _plug_and_wait(self, instance, network_info):
        """Plug the ports and wait until Neutron reports that they and their security groups are active."""
        def failed(event_name, instance):
            if CONF.vif_plugging_is_fatal:
                raise exception.VirtualInterfaceCreateException()

        events = [('network-vif-plugged', vif['id']) for vif in network_info or [] if not vif.get('active', True)]
        try:
            with self.virtapi.wait_for_instance_event(
                    instance, events, deadline=CONF.vif_plugging_timeout, error_callback=failed):
                self.plug_vifs(instance, network_info)
        except eventlet.timeout.Timeout:
            failed(None, instance)

    def _connect(self, machine, block_device_info):
        boot = _boot_volume(block_device_info)
        for mapping in driver.block_device_info_get_mapping(block_device_info):
            if mapping is not boot:
                volume.attach(machine, mapping['connection_info'], mapping['mount_device'])

    def _start(self, machine, instance):
        if not machine.start(instance.hostname, instance.flavor.vcpus, instance.flavor.memory_mb):
            raise exception.InstancePowerOnFailure(reason=machine.console(400).decode(errors='replace'))

    def destroy(self, context, instance, network_info, block_device_info=None, destroy_disks=True,
                destroy_secrets=True):
        Machine(instance.uuid).stop(timeout=0)
        self.cleanup(context, instance, network_info, block_device_info, destroy_disks)

    def cleanup(self, context, instance, network_info, block_device_info=None, destroy_disks=True, migrate_data=None,
                destroy_vifs=True, destroy_secrets=True):
        machine = Machine(instance.uuid)
        for mapping in driver.block_device_info_get_mapping(block_device_info):
            if mapping.get('connection_info'):
                volume.detach(machine, mapping['connection_info'])
        volume.detach_all(machine)
        self.unplug_vifs(instance, network_info)
        network.remove(machine.netns)
        if destroy_disks:
            machine.remove()

    def power_on(self, context, instance, network_info, block_device_info=None, accel_info=None):
        # Mounts and connects everything, because the host may have been rebooted while the machine was off.
        machine = Machine(instance.uuid)
        image.remount(os.readlink(machine.path('image')))
        machine.mount_root()
        self._connect(machine, block_device_info)
        self.plug_vifs(instance, network_info)
        self._start(machine, instance)

    resume_state_on_host_boot = power_on

    def power_off(self, instance, timeout=0, retry_interval=0):
        Machine(instance.uuid).stop(timeout)

    def reboot(self, context, instance, network_info, reboot_type, block_device_info=None, bad_volumes_callback=None,
               accel_info=None):
        self.power_off(instance, CONF.shutdown_timeout if reboot_type == 'SOFT' else 0)
        self.power_on(context, instance, network_info, block_device_info)

    # Interfaces and volumes

    def plug_vifs(self, instance, network_info):
        netns = Machine(instance.uuid).netns
        network.create(netns)
        for vif in network_info or []:
            network.plug(netns, vif)

    def unplug_vifs(self, instance, network_info):
        for vif in network_info or []:
            network.unplug(vif)

    def attach_interface(self, context, instance, image_meta, vif):
        self.plug_vifs(instance, [vif])

    def detach_interface(self, context, instance, vif):
        self.unplug_vifs(instance, [vif])

    def attach_volume(self, context, connection_info, instance, mountpoint, disk_bus=None, device_type=None,
                      encryption=None):
        volume.attach(Machine(instance.uuid), connection_info, mountpoint)

    def detach_volume(self, context, connection_info, instance, mountpoint, encryption=None):
        volume.detach(Machine(instance.uuid), connection_info)

    def extend_volume(self, context, connection_info, instance, requested_size):
        volume.grow(Machine(instance.uuid), connection_info)

    def get_volume_connector(self, instance):
        return {'ip': CONF.my_block_storage_ip, 'initiator': 'nspawn', 'host': CONF.host, 'multipath': False}

    def default_root_device_name(self, instance, image_meta, root_bdm):
        return '/dev/vda'  # the device does not exist, but Nova derives the volumes' names from it: /dev/vdb and so on

    # State of instances

    def get_info(self, instance, use_cache=True):
        machine = Machine(instance.uuid)
        if not machine.exists():
            raise exception.InstanceNotFound(instance_id=instance.uuid)
        return hardware.InstanceInfo(
            state=power_state.RUNNING if machine.is_running() else power_state.SHUTDOWN)

    def get_console_output(self, context, instance):
        return Machine(instance.uuid).console(CONSOLE_BYTES)

    def list_instance_uuids(self):
        return all_uuids()

    def list_instances(self):
        return all_uuids()

    def instance_on_disk(self, instance):
        return Machine(instance.uuid).exists()

    # State of the host

    def get_available_nodes(self, refresh=False):
        return [CONF.host]

    def get_host_ip_addr(self):
        return CONF.my_ip

    def get_host_uptime(self):
        return run('env', 'LC_ALL=C', 'uptime')

    def get_available_resource(self, nodename):
        cpus, memory_mb, disk_gb, free_gb = _host_resources()
        return {
            'hypervisor_type': 'nspawn', 'hypervisor_version': 0, 'hypervisor_hostname': nodename,
            'supported_instances': [('x86_64', 'lxc', 'exe')], 'cpu_info': '{}', 'numa_topology': None,
            'vcpus': cpus, 'memory_mb': memory_mb, 'local_gb': disk_gb,
            'vcpus_used': 0, 'memory_mb_used': 0, 'local_gb_used': disk_gb - free_gb, 'disk_available_least': free_gb}

    def update_provider_tree(self, provider_tree, nodename, allocations=None):
        cpus, memory_mb, disk_gb, _ = _host_resources()
        ratios = self._get_allocation_ratios(provider_tree.data(nodename).inventory)
        totals = {orc.VCPU: (cpus, CONF.reserved_host_cpus),
                  orc.MEMORY_MB: (memory_mb, CONF.reserved_host_memory_mb),
                  orc.DISK_GB: (disk_gb, self._get_reserved_host_disk_gb_from_config())}
        provider_tree.update_inventory(nodename, {
            resource: {'total': total, 'reserved': reserved, 'allocation_ratio': ratios[resource],
                       'min_unit': 1, 'max_unit': total, 'step_size': 1}
            for resource, (total, reserved) in totals.items()})


def _boot_volume(block_device_info):
    """Return the mapping of the volume from which the instance boots, or None."""
    for mapping in driver.block_device_info_get_mapping(block_device_info):
        if mapping.get('boot_index') == 0:
            return mapping


def _host_resources():
    """Return (CPUs, memory in MiB, disk in GiB, free disk in GiB)."""
    with open('/proc/meminfo') as file:
        memory_kb = int(re.search(r'MemTotal:\s+(\d+)', file.read()).group(1))
    disk = os.statvfs(CONF.instances_path)
    return (os.cpu_count(), memory_kb >> 10, disk.f_blocks * disk.f_frsize >> 30, disk.f_bavail * disk.f_frsize >> 30)
