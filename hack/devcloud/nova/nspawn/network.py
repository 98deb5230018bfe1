"""An instance's network: a namespace, and in it one end of a veth pair for each port, eth0 and so on.

The other end is tap<port ID> on the network's bridge. Neutron's Linux bridge agent looks for it, but does not create it
for compute ports. The agent applies security groups, port security and address pairs to the tap. A reboot replaces the
namespace and keeps the interfaces (nspawn-launch).
"""
import itertools
import os

from nova import utils
from nova.virt.nspawn.command import attempt, run


def create(netns):
    """Create the namespace if it does not exist."""
    if not os.path.exists('/run/netns/' + netns):
        run('ip', 'netns', 'add', netns)


@utils.synchronized('nspawn-network')
def plug(netns, vif):
    """Connect a port (nova.network.model.VIF) to the namespace if it is not connected."""
    tap, bridge = _tap(vif), vif['network']['bridge']
    mtu = str(vif['network'].get_meta('mtu') or 1500)
    if not _exists(bridge):
        # The agent creates the same bridge, perhaps at the same time.
        attempt('ip', 'link', 'add', bridge, 'type', 'bridge', 'forward_delay', '0', 'stp_state', '0')
        attempt('sysctl', '--quiet', '--write', 'net.ipv6.conf.%s.disable_ipv6=1' % bridge)
    if not _exists(tap):
        taken = run('ip', '-n', netns, '-brief', 'link').replace('@', ' ').split()
        name = next(name for name in map('eth{}'.format, itertools.count()) if name not in taken)
        run('ip', 'link', 'add', tap, 'mtu', mtu, 'type', 'veth',
            'peer', 'name', name, 'mtu', mtu, 'address', vif['address'], 'netns', netns)
    run('ip', 'link', 'set', tap, 'master', bridge, 'up')
    run('ip', 'link', 'set', bridge, 'up')


@utils.synchronized('nspawn-network')
def unplug(vif):
    """Remove a port's interface, and the bridge after the last one. The agent removes only bridges that it created."""
    tap, bridge = _tap(vif), vif['network']['bridge']
    if _exists(tap):
        attempt('ip', 'link', 'delete', tap)
    if _exists(bridge) and not os.listdir('/sys/class/net/%s/brif' % bridge):
        attempt('ip', 'link', 'delete', bridge)


def remove(netns):
    if os.path.exists('/run/netns/' + netns):
        run('ip', 'netns', 'delete', netns)


def _tap(vif):
    return ('tap' + vif['id'])[:14]


def _exists(link):
    return os.path.exists('/sys/class/net/' + link)
