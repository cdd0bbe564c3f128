"""Where this mesh's gateway and its page are, for commands that print it."""

import time

from tickmesh.bus.addresses import is_loopback
from tickmesh.bus.config import Config
from tickmesh.nodes.gateway.run_files import TOKEN, read_address
from tickmesh.tools import terminal

LOOK_S = 0.1


def await_gateway(config: Config, timeout_s: float) -> None:
    """Waits until a mesh's gateway answers, if it has one: it gives way to all others at the start. Gives up in silence."""
    deadline = time.monotonic() + timeout_s
    while config.gateway.enabled and not gateway_url(config) and time.monotonic() < deadline:
        time.sleep(LOOK_S)


def gateway_url(config: Config | None = None) -> str:
    """The address of the gateway that runs, of this folder's mesh where none is named; "" where there is none."""
    found = read_address(config or terminal.config())
    return found.url if found is not None else ""


def page_url(config: Config | None = None) -> str:
    """The address of the page that people open; "" where no gateway runs.

    With the token where that is needed: to change something, or to look from another machine.
    """
    config = config or terminal.config()
    url = gateway_url(config)
    if not url or (is_loopback(config.gateway.host) and not config.gateway.actions):
        return url
    try:
        return f"{url}/?token={(config.run_dir / TOKEN).read_text().strip()}"
    except OSError:
        return url
