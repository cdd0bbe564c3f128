"""A person's command at the terminal, into the log; a failure ends the program with its sentence."""

from tickmesh.bus.config import Config
from tickmesh.nodes.orders import commanding
from tickmesh.nodes.orders.commands import Command
from tickmesh.tools.terminal import Failure


def publish_command(config: Config, command: Command) -> int:
    """Publishes a command and waits until it is in the log; gives its seq. Raises Failure with why it is not there."""
    try:
        return commanding.publish_command(config, command)
    except commanding.CommandFailure as failure:
        raise Failure(str(failure)) from None
