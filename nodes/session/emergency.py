"""Cancels this mesh's orders at the venue by a connection of its own, when trading has to stop and no session does it.

    python -m tickmesh.nodes.session.emergency

It needs mesh.toml, the account's key and the venue: no log, no outbox, no other process of the mesh. It acts first and is
logged after: by an alert of the sentinel that has started it, and by the session's updates once that reconciles.
"""

import asyncio
import contextlib
import math
import os
import resource
import sys
import time

import msgspec

from tickmesh.bus import clock, operator_log
from tickmesh.bus.config import Config, ConfigError, load
from tickmesh.bus.file_lock import FileLock
from tickmesh.bus.process import NodeFault, die_with_parent
from tickmesh.nodes.net.budget import budget_of
from tickmesh.nodes.net.endpoints import VenueAddresses
from tickmesh.nodes.net.exchange_address import Endpoints
from tickmesh.nodes.net.rest import RestError, RestLimited, RestUnreachable
from tickmesh.nodes.net.venue_clock import VenueTime
from tickmesh.nodes.net.waits import Waits
from tickmesh.nodes.orders.accounts import account_venues
from tickmesh.nodes.session.account import Account
from tickmesh.nodes.session.asking import VenueAccount
from tickmesh.nodes.session.credentials import Credentials, read_credentials
from tickmesh.nodes.venues.table import adapter_of, dialect_of

NAME = "emergency"
PATIENCE_S = 60.0  # then it ends, and says what is still open; whoever has started it starts it again
REQUEST_S = 5.0  # for an answer
OTHER_S = 10.0  # for another one that is at work: it is through in seconds, unless it is stopped or the venue refuses
AT_ONCE = 10  # cancels that wait for their answers
CANCEL_WEIGHT = 1  # as much as one can cost
SHARE = 0.2  # of the venue's request weight: a question costs 80 or 40; a cancel nothing, or 1
ROUND_S, ROUND_S_MAX = 0.2, 5.0  # between two questions; longer after each failure


class EmergencyOutcome(msgspec.Struct):
    """What became of an emergency cancel: what is printed. `left`: open at the last answer, −1 where there was none.

    `last_cancel_ns`: when the venue had confirmed the last one, by the mesh's clock; 0: it cancelled nothing.
    """

    cancelled: int = 0
    left: int = -1
    why: str = ""  # of the last failure
    last_cancel_ns: int = 0


class EmergencyCanceller:
    """Cancels orders of one account until the venue shows none of ours open.

    Ours is what an executor's client id names, of whatever log; with `[session] foreign = "adopt"` every order of the account.
    """

    def __init__(self, config: Config, credentials: Credentials, venue: str):
        self._venue_time = VenueTime()
        self._settle_s = config.session.recv_window_ms / 1000
        self._addresses = VenueAddresses(config, adapter_of(venue), 1, orders=True)
        budget = budget_of(config, adapter_of(venue), SHARE)
        budget.used_weight_max = math.inf  # whoever else has used the address's weight: it is the venue's to refuse a cancel
        self._venue = VenueAccount(
            dialect_of(venue), credentials, config.session.recv_window_ms, REQUEST_S, self._venue_time,
            budget, self._addresses.ca, Waits(config, NAME, venue=venue),
        )  # fmt: skip
        self._account = Account(adopts_all=config.session.foreign == "adopt")
        self._turn = asyncio.Semaphore(AT_ONCE)
        self.outcome = EmergencyOutcome()

    async def cancel_all(self, patience_s: float = PATIENCE_S) -> EmergencyOutcome:
        """Asks and cancels in rounds, until none is open and a request that was under way before would be too old by now."""
        begun, pause_s = time.monotonic(), ROUND_S
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while True:
                    failed = not await self._round()
                    if not failed and not self.outcome.left and time.monotonic() - begun >= self._settle_s:
                        break
                    pause_s = min(2 * pause_s, ROUND_S_MAX) if failed else ROUND_S
                    await asyncio.sleep(pause_s)
        await self._venue.rest.close()
        return self.outcome

    async def _round(self) -> bool:
        """One question, and a cancel of each order of ours in its answer; False where something was refused or not answered."""
        try:
            self._venue.endpoints = Endpoints(await self._addresses.rest(), "")
            if not self._venue_time.known:
                await self._venue_time.measure(self._venue.time_ns)
            rows = await self._venue.every_open_id()
        except (RestError, RestUnreachable, msgspec.DecodeError) as error:
            self.outcome.why = str(error)[:200]
            if not isinstance(error, RestLimited):
                self._addresses.hop_rest()
            return False
        ours = [(symbol, name) for symbol, name in rows if self._account.claims(name)]
        self.outcome.left = len(ours)
        done = await asyncio.gather(*(self._cancel(symbol, name) for symbol, name in ours))
        return all(done)

    async def _cancel(self, symbol: str, client_order_id: str) -> bool:
        """Cancels one order; False where it is not known that it is over."""
        async with self._turn:
            await self._venue.budget.spend(CANCEL_WEIGHT)
            try:
                cancelled = await self._venue.cancel(symbol, client_order_id)
            except (RestError, RestUnreachable) as error:
                self.outcome.why = str(error)[:200]
                return False
        if cancelled:
            self.outcome.cancelled += 1
            self.outcome.last_cancel_ns = clock.now_ns()
        return True


async def cancel_everything(config: Config) -> EmergencyOutcome:
    """Cancels what is open on this mesh's accounts, on all at once, after another one that is at work.

    A sentinel and a person may both start one: each has its own answer. Raises NodeFault where the other does not end.
    An account without a key is one of which nothing is known; the others are cancelled all the same.
    """
    clock.follow(config.log_dir)
    config.run_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(config.run_dir / f"{NAME}.lock") as lock:
        deadline = time.monotonic() + OTHER_S
        while not lock.try_acquire():
            if time.monotonic() > deadline:
                raise NodeFault(f"{lock.path} is locked: another emergency cancel of this mesh is at work")
            await asyncio.sleep(ROUND_S)
        outcomes = await asyncio.gather(*(_cancel_account(config, venue) for venue in account_venues(config)))
    unknown = any(one.left < 0 for one in outcomes)
    return EmergencyOutcome(
        sum(one.cancelled for one in outcomes),
        -1 if unknown else sum(one.left for one in outcomes),
        "; ".join(one.why for one in outcomes if one.why),
        max((one.last_cancel_ns for one in outcomes), default=0),
    )


async def _cancel_account(config: Config, venue: str) -> EmergencyOutcome:
    try:
        return await EmergencyCanceller(config, read_credentials(config, venue), venue).cancel_all()
    except NodeFault as error:
        return EmergencyOutcome(why=f"{venue}: {error}")


def main() -> int:
    """Prints the outcome as JSON. 0: none of ours is open; 1: some may be, a sentence on stderr says why."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would have the key in it
    operator_log.set_up([NAME])
    try:
        if os.environ.get("SUPERVISOR_ENABLED"):
            die_with_parent()
        outcome = asyncio.run(cancel_everything(load()))
    except (ConfigError, NodeFault) as error:
        outcome = EmergencyOutcome(why=str(error))
    with contextlib.suppress(BrokenPipeError):  # whoever has started it is gone
        print(msgspec.json.encode(outcome).decode(), flush=True)
    said = f"{outcome.cancelled} cancelled at the venue"
    if outcome.left:
        left = f"{outcome.left} of ours are still open" if outcome.left > 0 else "what is open there is not known"
        operator_log.log_line(NAME, "critical", f"{said}; {left}: {outcome.why}")
        return 1
    operator_log.log_line(NAME, "warning", f"{said}; the venue shows no order of ours open")
    return 0


if __name__ == "__main__":
    sys.exit(main())
