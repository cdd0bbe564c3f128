"""The local exchange's account as somebody sees it who asks the exchange itself, past the mesh. Blocking."""

import json
import urllib.request

from tests.support.exchange_clients import limit, signed
from tickmesh.nodes.net import exchange_address


class VenueAccount:
    """Orders of the account at the exchange of one mesh."""

    def __init__(self, config):
        self.config = config

    def ask(self, method: str, path: str, **params):
        """A signed request; gives its answer."""
        base = exchange_address.read(self.config).rest
        url = f"{base}{path}?{signed(**params)}"
        request = urllib.request.Request(url, method=method, headers={"X-MBX-APIKEY": "local-key"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    def place(self, *names: str, price: int = 20_000) -> None:
        """Places orders that rest far below the market."""
        for i, name in enumerate(names):
            self.ask("POST", "/api/v3/order", **limit("BUY", f"{price + i}.00", "0.001", newClientOrderId=name))

    def open(self) -> set[str]:
        """The client ids of the orders that are open."""
        return {row["clientOrderId"] for row in self.ask("GET", "/api/v3/openOrders")}
