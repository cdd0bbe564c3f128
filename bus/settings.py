"""The sections of `mesh.toml` as frozen structs: every key with its type, its bounds, its default and the reason for it.

A bound concerns one key alone; `description` says what is allowed where the numbers by themselves do not say it well.
bus/config.py loads the file, checks what concerns several keys and makes sentences of what is wrong.
"""

from typing import Annotated, Literal

from msgspec import Meta

from tickmesh.bus.setting_types import (
    Balance,
    BufferBytes,
    ByPreset,
    Count,
    Exponent,
    FeePpm,
    IntervalMs,
    LatencyMs,
    LimitOrNone,
    MebibyteOrMore,
    ModelName,
    Positive,
    PositiveInt,
    PositiveSeconds,
    RestAddress,
    Section,
    Share,
    SourceName,
    WebsocketAddress,
    ZeroOrMore,
)
from tickmesh.bus.settings_alerts import DEFAULT_ALERTS, AlertRule, NotifySettings
from tickmesh.bus.settings_latency import LatencySettings
from tickmesh.bus.settings_trading import ExecutorSettings, RiskSettings, StrategySettings

Mode = Literal["sim", "capture", "paper", "testnet", "live"]
LOCAL_ORDERS = ("sim", "paper")  # modes whose orders the local exchange fills
REAL_ORDERS = ("testnet", "live")  # modes whose orders go to a venue
LineFormat = Literal["human", "json"]
Level = Literal["debug", "info", "warning", "error", "critical"]
LOCAL_VENUES = ("binance", "binance_usdm")  # whose dialects the local exchange speaks, in mode sim
ORDER_VENUES = ("binance", "binance_usdm")  # venues that a session can send orders to; others are captured only


class InstrumentSettings(Section, frozen=True):
    """An instrument to capture. Exponents that are not stated are decided from the venue's definitions (bus/instruments.py)."""

    symbol: str
    venue: str = "binance"
    price_exponent: Exponent | None = None
    quantity_exponent: Exponent | None = None

    @property
    def subject(self) -> str:
        return f"{self.venue}.{self.symbol}"


class Instrument(InstrumentSettings, frozen=True):
    """An instrument whose exponents are known: value = mantissa × 10^exponent (Binance spot: −8, eight decimals)."""

    price_exponent: Exponent = -8
    quantity_exponent: Exponent = -8


class LogSettings(Section, frozen=True):
    segment_bytes: BufferBytes = 4 << 20  # recovery scans one segment: 4 MiB take less than 0.1 s
    sync_ms: IntervalMs = 50  # fdatasync interval: what a power cut may cost
    # Beyond what waits for the archive (recorder.segment_bytes), so tools can look back without it
    keep_segments: PositiveInt = 8
    outbox_segment_bytes: BufferBytes = 4 << 20  # at most: smaller where the tmpfs is small
    outbox_bytes_max: int = 1 << 30  # that a producer may fill while the sequencer is away, in RAM and on disk
    # RAM that all outboxes of this mesh may fill together, the rest goes to disk; 0: half of the tmpfs
    outbox_ram_bytes: Annotated[int, Meta(ge=0)] = 0
    clock_ms: Annotated[int, Meta(ge=10, le=10_000)] = 100  # silence after which a clock event is said
    # How long a skipped venue id may be filled by another line before it is called a gap
    hold_ms: Annotated[int, Meta(ge=0, le=60_000)] = 1000
    # ZeroMQ's bound; beyond it messages are dropped and read from the file
    ring_messages: Annotated[int, Meta(ge=1, le=1 << 20)] = 10_000
    outbox_read: bool = True  # the sequencer reads what it did not hear; switched off only by tests that show it is needed
    log_read: bool = True  # and so do the readers of the log; likewise
    check_numbers: bool = True  # likewise
    contradictions: bool = True  # jumps out of proportion are held, and ids that their line takes back gone back from; likewise
    eras: bool = True  # ids that begin anew lower are followed; likewise
    outbox_spill: bool = True  # an outbox goes on on disk where RAM has no room; likewise
    unsynced: bool = True  # changes of a book without a snapshot are logged; likewise
    steady_clock: bool = True  # seq_ns goes on with the steady clock; likewise
    format: LineFormat = "human"  # of the lines that processes write for their operator, in run/logs
    level: Level = "info"  # the least that nodes write there
    levels: dict[str, Level] = {}  # by process (feed-kraken-1), or by a library's logger, which else writes warnings and worse


class FeedSettings(Section, frozen=True):
    """Settings of every line; `venue` is that of a line whose name says none (feed-1, in a table written by hand)."""

    venue: str = "binance"
    lines: Annotated[int, Meta(ge=1, le=9)] = 2  # of every venue
    depth_limit: int = 1000  # levels of a REST snapshot
    stale_s: float = 60.0  # no frame for so long: reconnect (Binance pings every 20 s); a venue's own deadline may be less
    backoff_s: tuple[float, float] = (0.1, 10.0)
    local_addr: tuple[str, ...] = ()  # source addresses; line n takes the n-th, in turn
    microseconds: bool = False  # ask for times in µs where the venue offers it (Binance spot)
    raw: bool = False  # keep every frame as it came, too: `mesh rebuild` makes the archive again with a later parser
    scan: bool = True  # frames in their usual forms are read by compiled code; without it by msgspec, with the same events
    renew: bool = True  # connections are replaced before they end, and when they are stale; off only by a test that shows it
    # A connection is replaced by a new one after so long (less up to a tenth): venues cut at 24 h
    renew_s: PositiveSeconds = 82_800.0
    overlap_s: PositiveSeconds = 10.0  # for so long at most the old and the new one run side by side
    ping_s: PositiveSeconds = 15.0  # our own ping, for the round trip
    check_instruments: bool = True  # instruments are checked against the venue's definitions; off only in tests, as above
    standing_s: tuple[float, float] = (5.0, 300.0)  # between two questions after an instrument that is unknown or halted
    define_s: float = 3600.0  # between two looks at the venue's definitions of instruments that are traded
    clock_s: PositiveSeconds = 60.0  # between two looks at the venue's clock
    fresh_min_s: PositiveSeconds = 30.0  # a stream may always be silent for so long …
    fresh_times: Positive = 100.0  # … and so many times its own usual interval; then the connection is renewed
    connections_per_5_minutes: PositiveInt = 60  # of one line; Binance allows 300 of an address
    weight_share: Share = 0.5  # of the venue's request budget that all lines together may use
    resync: bool = True  # fetch a snapshot when a book's chain breaks; switched off only by the test that shows it is needed


class VenueSettings(Section, frozen=True):
    """What is otherwise at a venue than its adapter says. Base addresses are tried in turn, line n begins with the n-th."""

    ws: tuple[WebsocketAddress, ...] = ()
    rest: tuple[RestAddress, ...] = ()
    ws_api: tuple[WebsocketAddress, ...] = ()  # where orders go; the next one after each failure
    rest_api: tuple[RestAddress, ...] = ()  # where the account is asked, and orders go while no socket can be had
    ca: str = ""  # a file of certificates (PEM) to trust beside the system's, of a proxy for instance; beside mesh.toml
    weight_per_minute: Count = 0  # what it allows this address, or what is left beside other programs; 0: as the adapter says


class BackfillSettings(Section, frozen=True):
    enabled: bool = True  # switched off, gaps stay open
    weight_share: Share = 0.25  # of the venue's request budget
    patience_s: float = 60.0  # a venue whose history ends before the gap's end is asked again for so long
    backoff_s: tuple[float, float] = (0.2, 10.0)


class DiskSettings(Section, frozen=True):
    """Free space of the disk with `data`. Below `low_bytes` raw frames are no longer kept, below `critical_bytes` depth.

    Inodes that run short are said; leaving something out would not bring them back.
    """

    low_bytes: int = 2 << 30
    critical_bytes: int = 512 << 20
    low_inodes: int = 20_000  # ten days of archive files, before days are sealed
    critical_inodes: Count = 2000
    prune: Literal["never", "exported"] = "never"  # "exported": below low_bytes the oldest sealed days that `mesh export` has
    look_s: float = 5.0


class SentinelSettings(Section, frozen=True):
    """What is alive but wrong is restarted: judged from the log, by the sentinel that acts."""

    # No health event for so long
    heartbeat_s: Annotated[float, Meta(ge=2, description="2 or more: health is said every second")] = 10.0
    stale_s: PositiveSeconds = 30.0  # a feed whose sibling brings events, and that brings none for so long
    lag_s: PositiveSeconds = 10.0  # a reader whose lag has grown for so long
    lag_events: PositiveInt = 20_000  # and is above this
    last_s: PositiveSeconds = 600.0  # a line that was last with every event for so long
    memory_bytes: PositiveInt = 2 << 30  # resident set of one process, without mapped files
    flapping_s: PositiveSeconds = 600.0  # the rule process_flapping counts the starts of so long
    respawns_per_minute: int = 30  # of one process that died; beyond it supervisord's own pace of a second. 0: always
    # Of one process, for any of these reasons; beyond it only an alert is raised. 0: alerts only
    restarts_per_hour: Annotated[int, Meta(ge=0, description="0 (only alerts) or more")] = 4


class ExchangeLimits(Section, frozen=True):
    """What the local venue lets a client do: the real venue's limits, far above what a default mesh asks."""

    weight_per_minute: PositiveInt = 6000  # per address
    raw_per_5_minutes: PositiveInt = 300_000
    orders_per_10_s: PositiveInt = 100  # per account; unfilled ones count
    orders_per_minute: LimitOrNone = 0
    orders_per_day: LimitOrNone = 200_000
    connections_per_5_minutes: PositiveInt = 300  # handshakes per address
    messages_per_s: PositiveInt = 5  # on a market socket, pings and pongs too; beyond: disconnected
    streams_max: PositiveInt = 1024  # subscriptions of one connection
    ban_after: PositiveInt = 20  # requests in a minute in spite of a 429, before 418
    ban_s: PositiveSeconds = 120.0  # twice as long at every further ban


class PopulationSettings(Section, frozen=True):
    """Who trades one synthetic instrument. 0 or empty: what the preset says (nodes/exchange/market/population.py)."""

    preset: Literal["liquid", "quiet"] = "liquid"
    trades_per_s: ByPreset = 0.0
    quotes_per_s: ByPreset = 0.0
    spread_ppm: ByPreset = 0.0  # of the price: the distance between the makers' best bid and ask
    depth: ByPreset = 0.0  # value of a maker's order at the touch, in the quote asset
    volatility: ByPreset = 0.0  # standard deviation of the fair price over a second, in ppm
    # Symbol at the same venue, or venue.symbol, of the instrument whose fair price this one's moves with
    follows: str = ""
    correlation: Annotated[float, Meta(ge=-1, le=1)] = 0.0  # of their moves
    # Of a futures venue: share of takers after which it closes a position off the book (`X` is not MARKET); 0: never
    off_book: Annotated[float, Meta(ge=0, le=1)] = 0.01


class ExchangeSettings(Section, frozen=True):
    """The local venue. `seed` and the rates shape the synthetic market."""

    host: str = "127.0.0.1"
    # 0: a free one, kept in the run folder
    port: Annotated[int, Meta(ge=0, le=65_535, description="0 (any free one) to 65535")] = 0
    seed: int = 1
    trades_per_s: Annotated[float, Meta(gt=0, le=2000)] = 20.0  # per instrument, on average
    quotes_per_s: Annotated[float, Meta(gt=0, le=5000)] = 60.0
    api_key: str = "local-key"  # the local venue's only account: not a secret
    api_secret: str = "local-secret"
    key_withdraws: bool = False  # what it says of the key's rights: for trying what a session does about it
    # A second key of that account, Ed25519: the file (PEM) of its public half, from the mesh's folder; its private half signs
    ed25519_public_key: str = ""
    ed25519_api_key: str = "local-ed25519-key"
    replay: tuple[str, ...] = ()  # capture files instead of the synthetic market
    # Of the replay; 0 = as fast as its clients take it
    speed: Annotated[float, Meta(ge=0, description="0 (as fast as possible) or more")] = 1.0
    # The market starts when so many connections have subscribed
    lines: Annotated[int, Meta(ge=0, le=1000, description="0 (waits for nobody) to 1000")] = 2
    maker_fee_ppm: FeePpm = 1000  # 0.1 %, parts per million of what is received
    taker_fee_ppm: FeePpm = 1000
    # A named schedule (nodes/exchange/market/fees.py) instead of the two
    fees: Literal["", "spot", "spot_discount", "free"] = ""
    balances: dict[str, Balance] = {}  # asset: what the account starts with; others start with a useful amount
    # By symbol or, quoted, venue.symbol, which goes first; others are as liquid as the rates above say
    population: dict[str, PopulationSettings] = {}
    client_bytes_max: BufferBytes = 4 << 20  # unsent bytes beyond which a slow client is cut off
    faults: str = ""  # a schedule of faults (TOML or JSON, docs/faults.md); its times begin with the exchange's first start
    # Of what the exchange remembers of everything it did: about a day of the default market
    ledger_bytes_max: MebibyteOrMore = 1 << 30
    queue: Literal["risk_averse", "probability_power", "probability_log"] = "risk_averse"  # our orders in a replayed book
    # Mode paper: nothing from the venue for so long, and new orders are refused
    stale_s: PositiveSeconds = 10.0
    entry_ms: LatencyMs = 0.0  # latency of our orders in a replayed book, and on paper: until the exchange has them
    response_ms: LatencyMs = 0.0  # until we have its answer
    latencies: str = ""  # a file of measured ones instead: rows of entry_ms,response_ms (drawn) or time_ns,entry_ms,response_ms
    ping_s: PositiveSeconds = 20.0  # server pings, as the venue
    pong_s: PositiveSeconds = 60.0  # no answer to a ping for so long: cut off
    life_s: PositiveSeconds = 86_400.0  # of a connection; then it is closed
    notice_s: ZeroOrMore = 10.0  # before that, `serverShutdown` is said
    # Per instrument: an older fromId is answered from the oldest that is kept
    trades_kept: Annotated[int, Meta(ge=1, le=10_000_000)] = 200_000
    # Of books and trades; each time that all ids begin anew (a fault) it is 10 million lower, not below 1
    first_id: Annotated[int, Meta(ge=1, le=10**15, description="1 to 10^15")] = 1
    tls: bool = False  # https and wss, with a certificate of its own making in the run folder
    limits: ExchangeLimits = ExchangeLimits()  # of its spot venue
    usdm_limits: ExchangeLimits = ExchangeLimits(
        weight_per_minute=2400, messages_per_s=10, orders_per_10_s=300, orders_per_minute=1200, orders_per_day=0
    )  # of its USD-M venue
    usdm_wallet: Balance = "100000"  # what the futures account starts with, once, of each asset that contracts settle in
    usdm_maker_fee_ppm: FeePpm = 200  # 0.02 % of a fill's value
    usdm_taker_fee_ppm: FeePpm = 500
    funding_interval_s: Annotated[float, Meta(ge=1)] = 28_800.0  # between two fundings, counted from midnight UTC
    listen_key_s: PositiveSeconds = 3600.0  # so long a user data stream of futures lasts if it is not kept alive


class ModelSettings(Section, frozen=True):
    """One kernel over instruments. `name` is the process name's second half, `kernel` a file in nodes/models."""

    name: ModelName
    kernel: str
    # venue.symbol of those that it serves, or patterns like "binance.*"; a state of its own for each
    instruments: Annotated[tuple[str, ...], Meta(min_length=1, description="at least one pattern")] = ("*",)
    parameters: dict[str, float] = {}  # of the kernel: PARAMETERS in its file gives names, defaults and ranges
    # Names or patterns of what a kernel with FEATURES publishes, like live_features: events of kind feature, never traded
    features: tuple[str, ...] = ()
    publish_past: bool = False  # a new model publishes what it would have said of the whole log, as if it were now


class AccountSettings(Section, frozen=True):
    """The account at one venue. `key_file`: as in [session], of this account; "": that of [session], or the environment."""

    key_file: str = ""


class SessionSettings(Section, frozen=True):
    """What all sessions do: there is one for each venue with instruments that are traded."""

    recv_window_ms: int = 2000  # a small one narrows the time in which an unanswered order may still arrive
    request_timeout_s: float = 10.0  # the venue itself gives up after 10 s; then the outcome is Unknown
    reconcile_s: float = 5.0  # open orders are compared with the venue's so often
    reconcile_all_s: PositiveSeconds = 60.0  # and all orders, own trades and balances: what nobody has told of is found
    weight_share: Share = 0.25  # of the venue's request budget, for questions about orders, trades and balances
    # A file (mode 0600, beside mesh.toml) with api_key and secret or private_key; "": the local exchange's, or the environment
    key_file: str = ""
    accounts: dict[str, AccountSettings] = {}  # by venue: what is otherwise there
    # Orders and fills on the account that are no executor's: only counted, or followed in log and positions like its own
    foreign: Literal["leave", "adopt"] = "leave"
    # An orderly end (Ctrl-C, `supervisorctl stop session`, `mesh down`) cancels the executor's orders at the venue, or not
    on_stop: Literal["cancel", "keep"] = "cancel"
    # "Order does not exist" proves it only after recv_window plus this: the venue's own limit, its databases' lag.
    absence_margin_s: float = 10.0
    stale_s: float = 60.0  # no message, not even a ping, for so long: reconnect
    backoff_s: tuple[float, float] = (0.1, 10.0)
    rest_fallback: bool = True  # orders go over REST while the order socket cannot be had
    # What the venue refuses again and again (a key, a halted instrument) is left alone for so long, then ever longer
    refused_pause_s: tuple[float, float] = (5.0, 300.0)


class RecorderSettings(Section, frozen=True):
    commit_ms: IntervalMs = 100  # recent store transaction
    # The archive is cut so often; 0: as often as segment_files_per_day allows, once a minute at most
    segment_s: Annotated[float, Meta(ge=0, description="0 (by segment_files_per_day) or more")] = 0.0
    # A cut makes a file an instrument: of 100 instruments it is made every 92 minutes
    segment_files_per_day: PositiveInt = 1600
    segment_bytes: MebibyteOrMore = 4 << 30  # the log never waits with more than this for the archive: it is cut at once
    segment_events: Annotated[int, Meta(ge=1000)] = 50_000_000  # of one cut
    recent_hours: Positive = 4.0
    # LMDB map: address space, not disk
    recent_bytes_max: Annotated[int, Meta(ge=1 << 24, description="16 MiB or more")] = 8 << 30
    seal: bool = True  # merge each UTC day's files into one of each instrument when the day is over
    seal_after_s: float = 60.0  # after midnight


class GatewaySettings(Section, frozen=True):
    """Recent events over REST and websockets, for programs, and a page for people (docs/gateway.md, docs/dashboard.md)."""

    enabled: bool = True
    # Whether who has the token may start and stop processes, switch strategies and the kill switch
    actions: bool = False
    # Beyond this machine: only with a certificate; every request brings the token of run/gateway.token then
    host: str = "127.0.0.1"
    # 0: a free one, kept from one start to the next in the run folder
    port: Annotated[int, Meta(ge=0, le=65_535, description="0 (any free one) to 65535")] = 0
    names: tuple[str, ...] = ()  # under which it is asked for beside `host`; of an address of this machine none is needed
    tls_certificate: str = ""  # files (PEM), from the mesh's folder; both or none
    tls_key: str = ""
    kind_bytes: BufferBytes = 2 << 20  # of the newest events of each kind, kept in memory
    requests_per_s: Positive = 200.0  # of one address; twice as many at once
    # Of a core; while heavy work for clients has used more, requests for what is old or large wait
    core_share: Annotated[float, Meta(gt=0, le=1)] = 0.25
    nice: Annotated[int, Meta(ge=0, le=19)] = 10  # who looks gives way to who trades; 0: it does not
    connections_max: Annotated[int, Meta(ge=8, le=100_000)] = 1200  # websockets too
    latency_s: PositiveSeconds = 300.0  # what it shows of hops is of so long before
    slow_s: PositiveSeconds = 15.0  # a client that sends its request, or takes its answer or a message, more slowly is cut off


class HostingSettings(Section, frozen=True):
    """What the sequencer's process does for the sake of what it hosts."""

    # Between two rehearsals of an order, which keep the processor's caches warm for the next real one and take a part of a core
    # for good; 0: none (docs/decisions/hosting.md)
    warm_ms: Annotated[int, Meta(ge=0, le=1000)] = 0


class PathsSettings(Section, frozen=True):
    """Folders of the user, relative to mesh.toml's or anywhere; for data and run there are `data` and `run`."""

    models: str = "models"  # kernels of this mesh's own, beside the shipped ones


DEFAULT_MODELS = (
    ModelSettings(name="imbalance", kernel="book_imbalance"),
    ModelSettings(name="flow", kernel="trade_flow"),
)


class Mesh(Section, frozen=True):
    """The whole file. `host`: nodes that the sequencer's process runs itself, fewest hops for least latency: `model` (all of
    them), `model-NAME`, `executor`, `session`, `feed-N` (line N of every venue with instruments), `feed-VENUE-N`.
    """

    mode: Mode = "sim"
    source: SourceName = "sim"  # name of the log folder under data/; one per source of market
    data: str = "data"
    run: str = "run"
    host: tuple[str, ...] = ()
    checkpoint_s: PositiveSeconds = 2.0
    instruments: Annotated[tuple[InstrumentSettings, ...], Meta(min_length=1, description="at least one")] = (
        InstrumentSettings(symbol="BTCUSDT"),
    )
    hosting: HostingSettings = HostingSettings()
    latency: LatencySettings = LatencySettings()
    paths: PathsSettings = PathsSettings()
    log: LogSettings = LogSettings()
    feed: FeedSettings = FeedSettings()
    venues: dict[str, VenueSettings] = {}
    backfill: BackfillSettings = BackfillSettings()
    disk: DiskSettings = DiskSettings()
    sentinel: SentinelSettings = SentinelSettings()
    exchange: ExchangeSettings = ExchangeSettings()
    # [[models]] are added to the two that a mesh has anyhow; one of the same name replaces it
    models: tuple[ModelSettings, ...] = DEFAULT_MODELS
    default_models: bool = True  # false: only those of mesh.toml; `models = []` is none at all
    executor: ExecutorSettings = ExecutorSettings()
    strategies: tuple[StrategySettings, ...] = (StrategySettings(),)  # without any: one as [executor] says, "default"
    risk: RiskSettings = RiskSettings()
    session: SessionSettings = SessionSettings()
    # [[alerts]]; a rule that is not among them is judged as bus/settings_alerts.py has it
    alerts: tuple[AlertRule, ...] = DEFAULT_ALERTS
    notify: tuple[NotifySettings, ...] = ()  # [[notify]]
    recorder: RecorderSettings = RecorderSettings()
    gateway: GatewaySettings = GatewaySettings()
