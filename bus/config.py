"""`mesh.toml` to frozen, validated structs. An unknown key is an error; every limit has its reason here.

Paths are relative to the folder that holds `mesh.toml`, so two copies of a project never share anything.
"""

import hashlib
import os
import re
from pathlib import Path
from typing import Literal

import msgspec


class ConfigError(ValueError):
    """A sentence for the person who wrote the file."""


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every section."""


class Instrument(Section, frozen=True):
    """An instrument to capture. Exponents: value = mantissa × 10^exponent (Binance spot: −8, eight decimals)."""

    symbol: str
    venue: str = "binance"
    price_exponent: int = -8
    quantity_exponent: int = -8

    @property
    def subject(self) -> str:
        return f"{self.venue}.{self.symbol}"


class LogSettings(Section, frozen=True):
    segment_bytes: int = 4 << 20  # recovery scans one segment: 4 MiB take less than 0.1 s
    sync_ms: int = 50  # fdatasync interval: what a power cut may cost
    keep_segments: int = 256  # beyond what waits for the archive (recorder.segment_bytes), so tools can look back without it
    outbox_segment_bytes: int = 4 << 20
    outbox_bytes_max: int = 1 << 30  # RAM a producer may fill while the sequencer is away
    clock_ms: int = 100  # silence after which a clock event is said
    hold_ms: int = 1000  # how long a skipped venue id may be filled by another line before it is called a gap
    ring_messages: int = 10_000  # ZeroMQ's bound; beyond it messages are dropped and read from the file
    outbox_read: bool = True  # the sequencer reads what it did not hear; switched off only by tests that show it is needed
    log_read: bool = True  # and so do the readers of the log; likewise
    check_numbers: bool = True  # likewise
    contradictions: bool = True  # jumps out of proportion are held, and ids that their line takes back gone back from; likewise
    eras: bool = True  # ids that begin anew lower are followed; likewise
    unsynced: bool = True  # changes of a book without a snapshot are logged; likewise
    steady_clock: bool = True  # seq_ns goes on with the steady clock; likewise


class FeedSettings(Section, frozen=True):
    """Settings of every line; `venue` is that of a line whose name says none (feed-1; feed-kraken-1 says kraken)."""

    venue: str = "binance"
    lines: int = 2  # of every venue
    depth_limit: int = 1000  # levels of a REST snapshot
    stale_s: float = 60.0  # no frame for so long: reconnect (Binance pings every 20 s); a venue's own deadline may be less
    backoff_s: tuple[float, float] = (0.1, 10.0)
    local_addr: tuple[str, ...] = ()  # source addresses; line n takes the n-th, in turn
    microseconds: bool = False  # ask for times in µs where the venue offers it (Binance spot)
    raw: bool = False  # keep every frame as it came, too: `mesh rebuild` makes the archive again with a later parser
    renew: bool = True  # connections are replaced before they end, and when they are stale; off only by a test that shows it
    renew_s: float = 82_800.0  # a connection is replaced by a new one after so long (less up to a tenth): venues cut at 24 h
    overlap_s: float = 10.0  # for so long at most the old and the new one run side by side
    ping_s: float = 15.0  # our own ping, for the round trip
    check_instruments: bool = True  # instruments are checked against the venue's definitions; off only in tests, as above
    standing_s: tuple[float, float] = (5.0, 300.0)  # between two questions after an instrument that is unknown or halted
    define_s: float = 3600.0  # between two looks at the venue's definitions of instruments that are traded
    clock_s: float = 60.0  # between two looks at the venue's clock
    fresh_min_s: float = 30.0  # a stream may always be silent for so long …
    fresh_times: float = 100.0  # … and so many times its own usual interval; then the connection is renewed
    connections_per_5_minutes: int = 60  # of one line; Binance allows 300 of an address
    weight_share: float = 0.5  # of the venue's request budget that all lines together may use
    resync: bool = True  # fetch a snapshot when a book's chain breaks; switched off only by the test that shows it is needed


class VenueSettings(Section, frozen=True):
    """What is otherwise at a venue than its adapter says. Base addresses are tried in turn, line n begins with the n-th."""

    ws: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()
    weight_per_minute: int = 0  # what it allows this address, or what is left beside other programs; 0: as the adapter says


class BackfillSettings(Section, frozen=True):
    enabled: bool = True  # switched off, gaps stay open
    weight_share: float = 0.25  # of the venue's request budget
    patience_s: float = 60.0  # a venue whose history ends before the gap's end is asked again for so long
    backoff_s: tuple[float, float] = (0.2, 10.0)


class DiskSettings(Section, frozen=True):
    """Free space of the disk with `data`. Below `low_bytes` raw frames are no longer kept, below `critical_bytes` depth.

    Inodes that run short are said; leaving something out would not bring them back.
    """

    low_bytes: int = 2 << 30
    critical_bytes: int = 512 << 20
    low_inodes: int = 20_000  # ten days of archive files, before days are sealed
    critical_inodes: int = 2000
    prune: Literal["never", "exported"] = "never"  # "exported": below low_bytes the oldest sealed days that `mesh export` has
    look_s: float = 5.0


class SentinelSettings(Section, frozen=True):
    """What is alive but wrong is restarted: judged from the log, by the sentinel that acts."""

    heartbeat_s: float = 10.0  # no health event for so long
    stale_s: float = 30.0  # a feed whose sibling brings events, and that brings none for so long
    lag_s: float = 10.0  # a reader whose lag has grown for so long
    lag_events: int = 20_000  # and is above this
    last_s: float = 600.0  # a line that was last with every event for so long
    memory_bytes: int = 2 << 30  # resident set of one process, without mapped files
    respawns_per_minute: int = 30  # of one process that died; beyond it supervisord's own pace of a second. 0: always
    restarts_per_hour: int = 4  # of one process, for any of these reasons; beyond it only an alert is raised. 0: alerts only


class ExchangeLimits(Section, frozen=True):
    """What the local venue lets a client do: the real venue's limits, far above what a default mesh asks."""

    weight_per_minute: int = 6000  # per address
    raw_per_5_minutes: int = 300_000
    orders_per_10_s: int = 100  # per account; unfilled ones count
    orders_per_day: int = 200_000
    connections_per_5_minutes: int = 300  # handshakes per address
    messages_per_s: int = 5  # on a market socket, pings and pongs too; beyond: disconnected
    streams_max: int = 1024  # subscriptions of one connection
    ban_after: int = 20  # requests in a minute in spite of a 429, before 418
    ban_s: float = 120.0  # twice as long at every further ban


class PopulationSettings(Section, frozen=True):
    """Who trades one synthetic instrument. 0 or empty: what the preset says (nodes/exchange/market/population.py)."""

    preset: Literal["liquid", "quiet"] = "liquid"
    trades_per_s: float = 0.0
    quotes_per_s: float = 0.0
    spread_ppm: float = 0.0  # of the price: the distance between the makers' best bid and ask
    depth: float = 0.0  # value of a maker's order at the touch, in the quote asset
    volatility: float = 0.0  # standard deviation of the fair price over a second, in ppm
    follows: str = ""  # symbol of the instrument whose fair price this one's moves with
    correlation: float = 0.0  # of their moves


class ExchangeSettings(Section, frozen=True):
    """The local venue. `seed` and the rates shape the synthetic market."""

    host: str = "127.0.0.1"
    port: int = 0  # 0: a free one, kept in the run folder
    seed: int = 1
    trades_per_s: float = 20.0  # per instrument, on average
    quotes_per_s: float = 60.0
    api_key: str = "local-key"  # the local venue's only account: not a secret
    api_secret: str = "local-secret"
    replay: tuple[str, ...] = ()  # capture files instead of the synthetic market
    speed: float = 1.0  # of the replay; 0 = as fast as its clients take it
    lines: int = 2  # the market starts when so many connections have subscribed
    maker_fee_ppm: int = 1000  # 0.1 %, parts per million of what is received
    taker_fee_ppm: int = 1000
    fees: Literal["", "spot", "spot_discount", "free"] = (
        ""  # a named schedule (nodes/exchange/market/fees.py) instead of the two
    )
    balances: dict[str, str] = {}  # asset: what the account starts with; others start with a useful amount
    population: dict[str, PopulationSettings] = {}  # by symbol; others are as liquid as the rates above say
    client_bytes_max: int = 4 << 20  # unsent bytes beyond which a slow client is cut off
    faults: str = ""  # a schedule of faults (TOML or JSON, docs/faults.md); its times begin with the exchange's first start
    ledger_bytes_max: int = 1 << 30  # of what the exchange remembers of everything it did: about a day of the default market
    queue: Literal["risk_averse", "probability_power", "probability_log"] = "risk_averse"  # our orders in a replayed book
    entry_ms: float = 0.0  # latency of our orders in a replayed book: until the exchange has them
    response_ms: float = 0.0  # until we have its answer
    latencies: str = ""  # a file of measured ones instead: rows of entry_ms,response_ms (drawn) or time_ns,entry_ms,response_ms
    ping_s: float = 20.0  # server pings, as the venue
    pong_s: float = 60.0  # no answer to a ping for so long: cut off
    life_s: float = 86_400.0  # of a connection; then it is closed
    notice_s: float = 10.0  # before that, `serverShutdown` is said
    trades_kept: int = 200_000  # per instrument: an older fromId is answered from the oldest that is kept
    tls: bool = False  # https and wss, with a certificate of its own making in the run folder
    limits: ExchangeLimits = ExchangeLimits()


class ModelSettings(Section, frozen=True):
    """One kernel on one instrument. `name` is the process name's second half, `kernel` a file in nodes/models."""

    name: str
    kernel: str
    instrument: str = ""  # venue.symbol; empty: the first instrument
    parameters: dict[str, float] = {}  # of the kernel: PARAMETERS in its file gives names, defaults and ranges


class ExecutorSettings(Section, frozen=True):
    enabled: bool = True
    instrument: str = ""  # venue.symbol; empty: the first instrument
    order_notional: str = "60"  # in the quote currency, in whole lots; raised to the venue's least up to twice that
    position_notional: str = ""  # empty: ten orders
    order_quantity: str = ""  # in the base currency, instead of order_notional
    position_max: str = ""  # likewise, instead of position_notional
    orders_per_s: float = 5.0  # on average, and at most so many (at least one) at once; cancels are always allowed
    signal_threshold: float = 0.6  # |value| from which a signal is acted on
    styles: tuple[Literal["market", "limit", "limit_ioc", "limit_maker"], ...] = ("limit_ioc", "limit", "market")  # in turn
    stale_ms: int = 2000  # no quote for so long, or a signal whose cause is so old (by seq_ns): no new order
    order_ttl_ms: int = 2000  # a resting order is cancelled after so long
    intent_ttl_ms: int = 5000  # an intent that the session has not acted on for so long is refused


class SessionSettings(Section, frozen=True):
    recv_window_ms: int = 2000  # a small one narrows the time in which an unanswered order may still arrive
    request_timeout_s: float = 10.0  # the venue itself gives up after 10 s; then the outcome is Unknown
    reconcile_s: float = 5.0  # open orders are compared with the venue's so often
    # "Order does not exist" proves it only after recv_window plus this: the venue's own limit, its databases' lag.
    absence_margin_s: float = 10.0
    stale_s: float = 60.0  # no message, not even a ping, for so long: reconnect
    backoff_s: tuple[float, float] = (0.1, 10.0)


class RecorderSettings(Section, frozen=True):
    commit_ms: int = 100  # recent store transaction
    segment_s: float = 0.0  # the archive is cut so often; 0: as often as segment_files_per_day allows, once a minute at most
    segment_files_per_day: int = 1600  # a cut makes a file an instrument: of 100 instruments it is made every 92 minutes
    segment_bytes: int = 4 << 30  # the log never waits with more than this for the archive: it is cut at once
    segment_events: int = 50_000_000  # of one cut
    recent_hours: float = 4.0
    recent_bytes_max: int = 8 << 30  # LMDB map: address space, not disk
    seal: bool = True  # merge each UTC day's files into one of each instrument when the day is over
    seal_after_s: float = 60.0  # after midnight


class Mesh(Section, frozen=True):
    """The whole file. `host`: nodes that the sequencer's process runs itself, fewest hops for least latency."""

    mode: Literal["sim", "paper", "live"] = "sim"
    source: str = "sim"  # name of the log folder under data/; one per source of market
    data: str = "data"
    run: str = "run"
    host: tuple[str, ...] = ()
    checkpoint_s: float = 2.0
    instruments: tuple[Instrument, ...] = (Instrument(symbol="BTCUSDT"),)
    log: LogSettings = LogSettings()
    feed: FeedSettings = FeedSettings()
    venues: dict[str, VenueSettings] = {}
    backfill: BackfillSettings = BackfillSettings()
    disk: DiskSettings = DiskSettings()
    sentinel: SentinelSettings = SentinelSettings()
    exchange: ExchangeSettings = ExchangeSettings()
    models: tuple[ModelSettings, ...] = (
        ModelSettings(name="imbalance", kernel="book_imbalance"),
        ModelSettings(name="flow", kernel="trade_flow"),
    )
    executor: ExecutorSettings = ExecutorSettings()
    session: SessionSettings = SessionSettings()
    recorder: RecorderSettings = RecorderSettings()


class Config:
    """A mesh's settings and the places that follow from them."""

    def __init__(self, mesh: Mesh, root: Path):
        self.mesh = mesh
        self.root = root

    def __getattr__(self, name: str):
        return getattr(self.mesh, name)

    @property
    def run_dir(self) -> Path:
        """Sockets, pid files, supervisor's logs: nothing that matters after a stop."""
        return self.root / self.mesh.run

    @property
    def source_dir(self) -> Path:
        """Everything that is known of this source of market."""
        return self.root / self.mesh.data / self.mesh.source

    @property
    def log_dir(self) -> Path:
        return self.source_dir / "log"

    @property
    def recent_dir(self) -> Path:
        return self.source_dir / "recent"

    @property
    def archive_dir(self) -> Path:
        return self.source_dir / "archive"

    @property
    def checkpoint_dir(self) -> Path:
        return self.source_dir / "checkpoints"

    @property
    def exchange_dir(self) -> Path:
        return self.source_dir / "exchange"

    @property
    def outbox_dir(self) -> Path:
        """In RAM where there is a tmpfs: an outbox has to survive a process, not a power cut. TICKMESH_TMPFS: another one."""
        identity = hashlib.sha256(f"{os.getuid()} {self.root.resolve()} {self.mesh.source}".encode()).hexdigest()[:16]
        shm = Path(os.environ.get("TICKMESH_TMPFS") or "/dev/shm")
        if shm.is_dir() and os.access(shm, os.W_OK):
            return shm / f"tickmesh-{identity}"
        return self.source_dir / "outbox"

    def instrument(self, subject: str) -> Instrument:
        """The instrument `venue.symbol`; the first one for an empty name."""
        if not subject:
            return self.mesh.instruments[0]
        for instrument in self.mesh.instruments:
            if instrument.subject == subject:
                return instrument
        known = ", ".join(i.subject for i in self.mesh.instruments)
        raise ConfigError(f"instrument {subject!r} is not in mesh.toml; there: {known}")

    def model(self, name: str) -> ModelSettings:
        for model in self.mesh.models:
            if model.name == name:
                return model
        raise ConfigError(f"model {name!r} is not in mesh.toml; there: {', '.join(m.name for m in self.mesh.models)}")


def find_root(start: Path | None = None) -> Path:
    """The nearest folder at or above `start` (default: TICKMESH_ROOT, or the working folder) with a mesh.toml."""
    here = (start or Path(os.environ.get("TICKMESH_ROOT") or Path.cwd())).resolve()
    for folder in (here, *here.parents):
        if (folder / "mesh.toml").is_file():
            return folder
    raise ConfigError(f"no mesh.toml in {here} or above; run in the project's folder or set TICKMESH_ROOT")


def load(root: Path | None = None, overrides: dict | None = None) -> Config:
    """Reads `mesh.toml`, then `run/overrides.json` (what `mesh up --capture …` chose for this run), then `overrides`.

    Raises ConfigError with a sentence: the file, the key, what was seen and what is allowed.
    """
    root = root or find_root()
    path = root / "mesh.toml"
    try:
        tree = msgspec.toml.decode(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    run = root / tree.get("run", Mesh().run)
    chosen = run / "overrides.json"
    if chosen.is_file():
        merge(tree, msgspec.json.decode(chosen.read_bytes()))
    merge(tree, overrides or {})
    try:
        mesh = msgspec.convert(tree, Mesh)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}{_allowed(error)}") from None
    _check(mesh, path)
    return Config(mesh, root)


def merge(tree: dict, more: dict) -> None:
    """Lays `more` over `tree`, table by table."""
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            merge(tree[key], value)
        else:
            tree[key] = value


_SECTIONS: dict[str, type[Section]] = {
    "": Mesh, "instruments": Instrument, "log": LogSettings, "feed": FeedSettings,
    "exchange": ExchangeSettings, "exchange.limits": ExchangeLimits,
    "models": ModelSettings, "executor": ExecutorSettings, "session": SessionSettings, "recorder": RecorderSettings,
    "venues": VenueSettings, "backfill": BackfillSettings, "disk": DiskSettings, "sentinel": SentinelSettings,
}  # fmt: skip


def _allowed(error: msgspec.ValidationError) -> str:
    text = str(error)
    if "unknown field" not in text:
        return ""
    where = text.partition("$")[2].strip("`. ").partition("[")[0]
    section = _SECTIONS.get(where)
    return f"; allowed there: {', '.join(section.__struct_fields__)}" if section else ""


def _check(mesh: Mesh, path: Path) -> None:
    def need(ok: bool, key: str, seen, allowed: str) -> None:
        if not ok:
            raise ConfigError(f"{path}: {key} = {seen!r} is impossible; allowed: {allowed}")

    plain = "a plain name of letters, digits, '.', '_' and '-', up to 64"
    need(bool(mesh.source) and "/" not in mesh.source and mesh.source.strip(".") != "", "source", mesh.source, plain)
    need(len(mesh.instruments) > 0, "instruments", mesh.instruments, "at least one")
    for instrument in mesh.instruments:
        subject = instrument.subject
        need(0 < len(subject.encode()) <= 32, "instruments.symbol", subject, "venue.symbol of 32 bytes at most")
        need(-18 <= instrument.price_exponent <= 0, "price_exponent", instrument.price_exponent, "−18 to 0")
        need(-18 <= instrument.quantity_exponent <= 0, "quantity_exponent", instrument.quantity_exponent, "−18 to 0")
    subjects = [i.subject for i in mesh.instruments]
    need(len(set(subjects)) == len(subjects), "instruments", subjects, "each only once")
    names = [m.name for m in mesh.models]
    need(len(set(names)) == len(names), "models", names, "each name only once")
    for name in names:
        need(0 < len(f"model-{name}") <= 16, "models.name", name, "1 to 10 characters")
    for model in mesh.models:
        need(model.instrument in ("", *subjects), "models.instrument", model.instrument, " or ".join(subjects))
    need(
        mesh.executor.instrument in ("", *subjects),
        "executor.instrument", mesh.executor.instrument, " or ".join(subjects),
    )  # fmt: skip
    need(mesh.log.segment_bytes >= 1 << 16, "log.segment_bytes", mesh.log.segment_bytes, "65536 or more")
    need(mesh.log.outbox_segment_bytes >= 1 << 16, "log.outbox_segment_bytes", mesh.log.outbox_segment_bytes, "65536 +")
    need(mesh.log.outbox_bytes_max >= 4 * mesh.log.outbox_segment_bytes, "log.outbox_bytes_max",
         mesh.log.outbox_bytes_max, "four segments or more")  # fmt: skip
    need(1 <= mesh.log.sync_ms <= 10_000, "log.sync_ms", mesh.log.sync_ms, "1 to 10000")
    need(10 <= mesh.log.clock_ms <= 10_000, "log.clock_ms", mesh.log.clock_ms, "10 to 10000")
    need(0 <= mesh.log.hold_ms <= 60_000, "log.hold_ms", mesh.log.hold_ms, "0 to 60000")
    need(mesh.log.keep_segments >= 1, "log.keep_segments", mesh.log.keep_segments, "1 or more")
    need(1 <= mesh.log.ring_messages <= 1 << 20, "log.ring_messages", mesh.log.ring_messages, "1 to 1048576")
    need(1 <= mesh.feed.lines <= 9, "feed.lines", mesh.feed.lines, "1 to 9")
    for key in ("renew_s", "overlap_s", "ping_s", "clock_s", "fresh_min_s", "fresh_times", "connections_per_5_minutes"):
        need(getattr(mesh.feed, key) > 0, f"feed.{key}", getattr(mesh.feed, key), "more than 0")
    for name, share in (("feed", mesh.feed.weight_share), ("backfill", mesh.backfill.weight_share)):
        need(0 < share <= 1, f"{name}.weight_share", share, "above 0 to 1")
    for name, venue in mesh.venues.items():
        need(venue.weight_per_minute >= 0, f"venues.{name}.weight_per_minute", venue.weight_per_minute, "0 or more")
        for key, scheme in (("ws", "ws"), ("rest", "http")):
            for url in getattr(venue, key):
                need(
                    re.match(rf"{scheme}s?://[^/]", url) is not None,
                    f"venues.{name}.{key}",
                    url,
                    f"{scheme}:// or {scheme}s://",
                )
    need(mesh.disk.critical_bytes <= mesh.disk.low_bytes, "disk.critical_bytes", mesh.disk.critical_bytes,
         f"disk.low_bytes = {mesh.disk.low_bytes} or less")  # fmt: skip
    need(0 <= mesh.disk.critical_inodes <= mesh.disk.low_inodes, "disk.critical_inodes", mesh.disk.critical_inodes,
         f"0 to disk.low_inodes = {mesh.disk.low_inodes}")  # fmt: skip
    for key in ("stale_s", "lag_s", "last_s", "lag_events", "memory_bytes"):
        need(getattr(mesh.sentinel, key) > 0, f"sentinel.{key}", getattr(mesh.sentinel, key), "more than 0")
    need(
        mesh.sentinel.heartbeat_s >= 2,
        "sentinel.heartbeat_s",
        mesh.sentinel.heartbeat_s,
        "2 or more: health is said every second",
    )
    need(mesh.sentinel.restarts_per_hour >= 0, "sentinel.restarts_per_hour", mesh.sentinel.restarts_per_hour,
         "0 (only alerts) or more")  # fmt: skip
    need(0 <= mesh.exchange.port < 65536, "exchange.port", mesh.exchange.port, "0 (any free one) to 65535")
    need(mesh.exchange.speed >= 0, "exchange.speed", mesh.exchange.speed, "0 (as fast as possible) or more")
    need(0 <= mesh.exchange.maker_fee_ppm < 10**6, "exchange.maker_fee_ppm", mesh.exchange.maker_fee_ppm, "0 to 999999")
    need(0 <= mesh.exchange.taker_fee_ppm < 10**6, "exchange.taker_fee_ppm", mesh.exchange.taker_fee_ppm, "0 to 999999")
    ledger_bytes = mesh.exchange.ledger_bytes_max
    need(ledger_bytes >= 1 << 20, "exchange.ledger_bytes_max", ledger_bytes, "1 MiB or more")
    for key in ("entry_ms", "response_ms"):
        need(0 <= getattr(mesh.exchange, key) <= 60_000, f"exchange.{key}", getattr(mesh.exchange, key), "0 to 60000")
    for symbol, one in mesh.exchange.population.items():
        where = f"exchange.population.{symbol}"
        need(-1 <= one.correlation <= 1, f"{where}.correlation", one.correlation, "−1 to 1")
        symbols = [i.symbol for i in mesh.instruments]
        need(one.follows in ("", *symbols) and one.follows != symbol, f"{where}.follows", one.follows, f"another of {symbols}")
        for key in ("trades_per_s", "quotes_per_s", "spread_ppm", "depth", "volatility"):
            need(getattr(one, key) >= 0, f"{where}.{key}", getattr(one, key), "0 (the preset's) or more")
    need(0 < mesh.exchange.trades_per_s <= 2000, "exchange.trades_per_s", mesh.exchange.trades_per_s, "0 to 2000")
    need(0 < mesh.exchange.quotes_per_s <= 5000, "exchange.quotes_per_s", mesh.exchange.quotes_per_s, "0 to 5000")
    need(mesh.exchange.client_bytes_max >= 1 << 16, "exchange.client_bytes_max", mesh.exchange.client_bytes_max, "65536 +")
    for key in ("ping_s", "pong_s", "life_s"):
        need(getattr(mesh.exchange, key) > 0, f"exchange.{key}", getattr(mesh.exchange, key), "more than 0")
    need(mesh.exchange.notice_s >= 0, "exchange.notice_s", mesh.exchange.notice_s, "0 or more")
    need(1 <= mesh.exchange.trades_kept <= 10**7, "exchange.trades_kept", mesh.exchange.trades_kept, "1 to 10000000")
    for key in ExchangeLimits.__struct_fields__:
        limit = getattr(mesh.exchange.limits, key)
        need(limit > 0, f"exchange.limits.{key}", limit, "more than 0")
    for asset, amount in mesh.exchange.balances.items():
        need(re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,8})?", amount) is not None, f"exchange.balances.{asset}", amount,
             "a decimal of at most 8 places")  # fmt: skip
    need(0 <= mesh.exchange.lines <= 1000, "exchange.lines", mesh.exchange.lines, "0 (waits for nobody) to 1000")
    need(0 < mesh.executor.orders_per_s <= 1000, "executor.orders_per_s", mesh.executor.orders_per_s, "above 0 to 1000")
    need(mesh.executor.signal_threshold >= 0, "executor.signal_threshold", mesh.executor.signal_threshold, "0 or more")
    need(len(mesh.executor.styles) > 0, "executor.styles", mesh.executor.styles, "at least one style")
    for key in ("stale_ms", "order_ttl_ms", "intent_ttl_ms"):
        need(1 <= getattr(mesh.executor, key) <= 86_400_000, f"executor.{key}", getattr(mesh.executor, key), "1 to 86400000")
    for key in ("order_notional", "position_notional", "order_quantity", "position_max"):
        text = getattr(mesh.executor, key)
        if not text and key != "order_notional":
            continue
        plain_decimal = bool(re.fullmatch(r"\d{1,12}(\.\d{1,18})?", text)) and float(text) > 0
        need(plain_decimal, f"executor.{key}", text, "a plain decimal above 0 like '0.001'")
    need(mesh.recorder.segment_s >= 0, "recorder.segment_s", mesh.recorder.segment_s, "0 (by segment_files_per_day) or more")
    per_day = mesh.recorder.segment_files_per_day
    need(per_day >= 1, "recorder.segment_files_per_day", per_day, "1 or more")
    need(mesh.recorder.segment_bytes >= 1 << 20, "recorder.segment_bytes", mesh.recorder.segment_bytes, "1 MiB or more")
    need(1 <= mesh.recorder.commit_ms <= 10_000, "recorder.commit_ms", mesh.recorder.commit_ms, "1 to 10000")
    need(mesh.recorder.segment_events >= 1000, "recorder.segment_events", mesh.recorder.segment_events, "1000 or more")
    need(
        mesh.recorder.recent_bytes_max >= 1 << 24, "recorder.recent_bytes_max", mesh.recorder.recent_bytes_max, "16 MiB or more"
    )
    need(mesh.recorder.recent_hours > 0, "recorder.recent_hours", mesh.recorder.recent_hours, "more than 0")
    need(mesh.checkpoint_s > 0, "checkpoint_s", mesh.checkpoint_s, "more than 0")
    hostable = ("sequencer", "model", "executor", "session")
    need(all(name in hostable for name in mesh.host), "host", mesh.host, f"any of {', '.join(hostable)}")
    need(mesh.mode == "sim", "mode", mesh.mode, "'sim' in this version; paper and live trading are not built yet")
