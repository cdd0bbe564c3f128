"""Where this mesh's gateway is, for commands that print it."""

from tickmesh.bus.config import Config
from tickmesh.nodes.gateway.run_files import read_address
from tickmesh.tools import terminal


def gateway_url(config: Config | None = None) -> str:
    """The address of the gateway that runs, of this folder's mesh where none is named; "" where there is none."""
    found = read_address(config or terminal.config())
    return found.url if found is not None else ""
