"""What `mesh top` shows: the mesh's status, and the figures of the gateway from a log that is followed in this process."""

from tickmesh.bus.clock import now_ns
from tickmesh.bus.config import Config, ConfigError, find_root
from tickmesh.bus.log import LogReader
from tickmesh.bus.segments import LogError
from tickmesh.nodes.gateway import figures
from tickmesh.nodes.gateway.problems import RequestProblem
from tickmesh.nodes.gateway.recent_events import RecentEvents
from tickmesh.storage.archive.file import ArchiveError
from tickmesh.storage.query.times import ReadError
from tickmesh.storage.recent.lately import HOUR_NS, lately
from tickmesh.tools import started_with
from tickmesh.tools.account_history import KINDS, AccountHistory, Filter
from tickmesh.tools.orders import OVER, Units
from tickmesh.tools.status import status
from tickmesh.tools.terminal import Failure, JsonObject

BEGINS_BACK = 5000  # events: so far back the figures go at the beginning
KIND_BYTES = 256 << 10  # of each kind, in memory
EVENTS_MAX = 50_000  # of the log in one look; what is more, the next one reads
ORDERS = 20  # orders that are over, and fills


class MeshLog:
    """One mesh's log from a place near its end on. `recent`: what has come in; `history`: orders of the last hours.

    Raises LogError, ArchiveError.
    """

    def __init__(self, config: Config):
        log = LogReader(config.log_dir)
        self.config, self.log_id = config, log.log_id
        self.seq = log.last
        self.history = AccountHistory(Filter(last=ORDERS))
        since_ns = now_ns() - int(max(config.recorder.recent_hours, 1.0) * HOUR_NS)
        for event in lately(config, KINDS, {one.subject for one in config.instruments}, since_ns):
            if event.seq <= self.seq:
                self.history.take(event)
        after = max(self.seq - BEGINS_BACK, log.first - 1, 0)
        self.recent = RecentEvents(after, KIND_BYTES)
        self.recent.take((event for event in log.events(after) if event.seq <= self.seq), self.seq)

    def is_of(self, config: Config) -> bool:
        """Whether it is the log that a mesh with these settings writes now."""
        log = LogReader(config.log_dir)
        return log.log_id == self.log_id and log.last >= self.seq and config.log_dir == self.config.log_dir

    def read(self) -> None:
        """Takes in what the log has since, EVENTS_MAX at most. Raises LogError, where the log has released it too."""
        for number, event in enumerate(LogReader(self.config.log_dir).events(self.seq), 1):
            self.recent.take([event], event.seq)
            if event.kind in KINDS:
                self.history.take(event)
            self.seq = event.seq
            if number >= EVENTS_MAX:
                break


class MeshPicture:
    """Looks at the mesh of this folder again and again, while it goes down and comes up."""

    def __init__(self) -> None:
        self._log: MeshLog | None = None

    def look(self) -> JsonObject:
        """Gives what `mesh top --json` prints. Never fails for the mesh's sake: `trouble` says why something is not there."""
        trouble, found = "", None
        try:
            found = status()
        except (Failure, ConfigError) as error:
            trouble = str(error)
        config, _ = started_with.in_force(find_root())
        parts: JsonObject = {"processes": [], "topics": [], "positions": None, "pnl": None, "orders": [], "fills": []}
        if config is not None:
            try:
                parts = self._parts(config)
            except (LogError, ArchiveError, ReadError) as error:
                self._log, trouble = None, trouble or str(error)
        return {"time_ns": now_ns(), "trouble": trouble, "status": found, **parts}

    def _parts(self, config: Config) -> JsonObject:
        if self._log is None or not self._log.is_of(config):
            self._log = MeshLog(config)
        log = self._log
        log.read()
        now = now_ns()
        positions = pnl = None
        try:
            found = figures.trading(config, log.recent)
            positions, pnl = figures.positions(found), figures.profit_and_loss(found)
        except RequestProblem:
            pass  # nobody trades
        units = Units(config, log.history.state)
        rows = sorted(log.history.rows.values(), key=lambda row: row.seq, reverse=True)
        orders = sorted((units.order(row) for row in rows), key=lambda one: one["status"] in OVER)
        return {
            "processes": figures.processes(log.recent, now), "topics": figures.topics(log.recent, now),
            "positions": positions, "pnl": pnl, "orders": orders, "fills": [units.fill(row) for row in log.history.fills],
        }  # fmt: skip
