"""Commands of the host."""
from oslo_concurrency import processutils
from oslo_log import log

LOG = log.getLogger(__name__)


def run(*command):
    """Run a command; its standard output. oslo_concurrency.processutils.ProcessExecutionError when it fails."""
    return processutils.execute(*command)[0]


def attempt(*command):
    """Run a command that may fail; its standard output, None when it did."""
    try:
        return run(*command)
    except processutils.ProcessExecutionError as error:
        LOG.debug('%s', error)
