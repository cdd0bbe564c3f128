"""The key by which clients get the events of a futures account: one at a time, valid for an hour after it was asked for. Pure.

Source: USD-M futures, "Start User Data Stream", "Keepalive User Data Stream", "Close User Data Stream".
"""

import hashlib

from tickmesh.nodes.exchange.protocol import VenueError

LENGTH = 64  # of a key
GONE = VenueError(-1125, "This listenKey does not exist.")


class ListenKey:
    """The account's key. `changed` is set until someone has written it."""

    def __init__(self, secret: str, life_s: float):
        self._secret, self._life_ms = secret, int(life_s * 1000)
        self.key = ""
        self.ends_ms = 0
        self.made = 0  # so far
        self.changed = False
        self._expired: list[str] = []

    def ask(self, now_ms: int) -> str:
        """The key, a new one if there is none that is valid; either way it is valid for its whole life from now on."""
        if not self.is_valid(now_ms):
            self._expire()
            self.made += 1
            self.key = hashlib.sha256(f"{self._secret}/listenKey/{self.made}".encode()).hexdigest()
        self.ends_ms, self.changed = now_ms + self._life_ms, True
        return self.key

    def keep_alive(self, now_ms: int) -> str:
        """Prolongs the key's life; gives it. VenueError −1125 when there is none."""
        if not self.is_valid(now_ms):
            raise GONE
        return self.ask(now_ms)

    def close(self) -> None:
        """Ends the key; nothing is sent for it any more."""
        self.key, self.ends_ms, self.changed = "", 0, True

    def is_valid(self, now_ms: int) -> bool:
        """Whether there is a key whose life has not ended."""
        return bool(self.key) and now_ms < self.ends_ms

    def take_expired(self, now_ms: int) -> list[str]:
        """Gives the keys whose life has ended since the last call."""
        if self.key and now_ms >= self.ends_ms:
            self._expire()
            self.close()
        expired, self._expired = self._expired, []
        return expired

    def _expire(self) -> None:
        if self.key:
            self._expired.append(self.key)
