"""Commands of the host."""
from oslo_concurrency import processutils
from oslo_log import log

LOG = log.getLogger(__name__)


def run(*command):
    """Run a command and return its standard output. Raises processutils.ProcessExecutionError if it fails."""
    return processutils.execute(*command)[0]


def attempt(*command):
    """Run a command and return its standard output, or None if it fails."""
    try:
        return run(*command)
    except processutils.ProcessExecutionError as error:
        LOG.debug('%s', error)
