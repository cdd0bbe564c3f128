"""Loading `mesh.toml`: from the file to checked settings (bus/settings.py) and the places that follow from them.

An unknown key is an error. Paths are relative to the folder that holds `mesh.toml`, so two copies of a project never share
anything.
"""

import difflib
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec.inspect import (
    BoolType,
    DictType,
    FloatType,
    IntType,
    LiteralType,
    Metadata,
    StrType,
    StructType,
    TupleType,
    UnionType,
    VarTupleType,
    type_info,
)  # fmt: skip

from tickmesh.bus.addresses import is_loopback
from tickmesh.bus.names import SUBJECT_BYTES
from tickmesh.bus.order_addresses import venues_of
from tickmesh.bus.patterns import matching, some
from tickmesh.bus.settings import (
    DEFAULT_MODELS,
    LOCAL_VENUES,
    ORDER_VENUES,
    BackfillSettings,
    DiskSettings,
    ExchangeSettings,
    FeedSettings,
    GatewaySettings,
    HostingSettings,
    InstrumentSettings,
    LogSettings,
    Mesh,
    Mode,
    ModelSettings,
    PathsSettings,
    RecorderSettings,
    SentinelSettings,
    SessionSettings,
    VenueSettings,
)  # fmt: skip
from tickmesh.bus.settings_alerts import AlertRule, NotifySettings, contradictions_of_notify, with_defaults
from tickmesh.bus.settings_latency import LatencySettings, contradictions_of_latency
from tickmesh.bus.settings_trading import ExecutorSettings, RiskSettings, StrategySettings, resolved
from tickmesh.bus.trading_rules import contradictions_of_mode, contradictions_of_trading, traded_by


class ConfigError(ValueError):
    """Settings that cannot be used: a sentence for the person who wrote the file."""


class Config:
    """A mesh's settings and the places that follow from them."""

    def __init__(self, mesh: Mesh, root: Path):
        self.mesh = mesh
        self.root = root
        self.mode: Mode = mesh.mode
        self.source: str = mesh.source
        self.data: str = mesh.data
        self.run: str = mesh.run
        self.host: tuple[str, ...] = mesh.host
        self.checkpoint_s: float = mesh.checkpoint_s
        self.instruments: tuple[InstrumentSettings, ...] = mesh.instruments
        self.hosting: HostingSettings = mesh.hosting
        self.latency: LatencySettings = mesh.latency
        self.paths: PathsSettings = mesh.paths
        self.log: LogSettings = mesh.log
        self.feed: FeedSettings = mesh.feed
        self.venues: dict[str, VenueSettings] = mesh.venues
        self.backfill: BackfillSettings = mesh.backfill
        self.disk: DiskSettings = mesh.disk
        self.sentinel: SentinelSettings = mesh.sentinel
        self.exchange: ExchangeSettings = mesh.exchange
        self.models: tuple[ModelSettings, ...] = mesh.models
        self.default_models: bool = mesh.default_models
        self.executor: ExecutorSettings = mesh.executor
        self.strategies: tuple[StrategySettings, ...] = mesh.strategies
        self.risk: RiskSettings = mesh.risk
        self.session: SessionSettings = mesh.session
        self.alerts: tuple[AlertRule, ...] = mesh.alerts
        self.notify: tuple[NotifySettings, ...] = mesh.notify
        self.recorder: RecorderSettings = mesh.recorder
        self.gateway: GatewaySettings = mesh.gateway

    @property
    def run_dir(self) -> Path:
        """The folder of sockets, pid files and supervisor's logs: nothing in it matters after a stop."""
        return self.root / self.mesh.run

    @property
    def models_dir(self) -> Path:
        """The folder of this mesh's own models."""
        return self.root / self.paths.models

    @property
    def source_dir(self) -> Path:
        """The folder of all data from this source of market: log, stores, checkpoints, the local exchange's files."""
        return self.root / self.mesh.data / self.mesh.source

    @property
    def log_dir(self) -> Path:
        """The folder of the log."""
        return self.source_dir / "log"

    @property
    def recent_dir(self) -> Path:
        """The folder of the recent store."""
        return self.source_dir / "recent"

    @property
    def archive_dir(self) -> Path:
        """The folder of the archive."""
        return self.source_dir / "archive"

    @property
    def checkpoint_dir(self) -> Path:
        """The folder of nodes' checkpoints."""
        return self.source_dir / "checkpoints"

    @property
    def exchange_dir(self) -> Path:
        """The folder of the local exchange's files."""
        return self.source_dir / "exchange"

    @property
    def outbox_dir(self) -> Path:
        """The folder that outboxes are in as long as it has room."""
        return self.outbox_dirs[0]

    @property
    def outbox_dirs(self) -> tuple[Path, ...]:
        """The folders of outboxes: in RAM where there is a tmpfs (TICKMESH_TMPFS: another one), for they only outlive
        processes; and on disk, for what has no room there (bus/outbox_room.py)."""
        identity = hashlib.sha256(f"{os.getuid()} {self.root.resolve()} {self.mesh.source}".encode()).hexdigest()[:16]
        shm = Path(os.environ.get("TICKMESH_TMPFS") or "/dev/shm")
        if shm.is_dir() and os.access(shm, os.W_OK):
            ram = shm / f"tickmesh-{identity}"
            return (ram, self.source_dir / "outbox") if self.log.outbox_spill else (ram,)
        return (self.source_dir / "outbox",)

    def outbox(self, producer: str) -> tuple[Path, ...]:
        """The folders of one producer's outbox, as `LogReader` and `segments` take them."""
        return tuple(folder / producer for folder in self.outbox_dirs)

    @property
    def lines_and_models(self) -> int:
        """How many processes there are of which mesh.toml says the number: lines of all venues, and models."""
        return self.feed.lines * len({one.venue for one in self.instruments}) + len(self.models)

    @property
    def strategies_resolved(self) -> tuple[StrategySettings, ...]:
        """The strategies with everything stated: where one says nothing, what [executor] says."""
        return tuple(resolved(one, self.executor) for one in self.strategies)

    @property
    def traded(self) -> tuple[InstrumentSettings, ...]:
        """The instruments whose signals some strategy acts on, in the order of mesh.toml."""
        found = {one.subject for strategy in self.strategies_resolved for one in self.traded_by(strategy)}
        return tuple(one for one in self.instruments if one.subject in found)

    def traded_by(self, strategy: StrategySettings) -> tuple[InstrumentSettings, ...]:
        """The instruments that a strategy trades, in the order of mesh.toml; none where the session has no venue.

        Where neither it nor [executor] lists any it is the first of mesh.toml, and that alone.
        """
        return traded_by(strategy, self.instruments)

    def subjects(self, patterns: tuple[str, ...]) -> tuple[str, ...]:
        """The `venue.symbol` of each instrument that a pattern names, sorted: the order in mesh.toml means nothing."""
        return tuple(sorted(one.subject for one in matching(patterns, self.instruments)))

    def model(self, name: str) -> ModelSettings:
        """The settings of the model of this name."""
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


def load(root: Path | None = None, overrides: dict[str, Any] | None = None, chosen: bool = True) -> Config:
    """Reads `mesh.toml`, then `run/overrides.json` (what `mesh up --capture …` chose for this run), then `overrides`.

    `chosen`: False leaves out what was chosen for this run.
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
    choice = run / "overrides.json"
    if chosen and choice.is_file():
        merge(tree, msgspec.json.decode(choice.read_bytes()))
    merge(tree, overrides or {})
    try:
        mesh = msgspec.convert(tree, Mesh)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_sentence(error, tree)}") from None
    models, alerts = _models(mesh, "models" in tree), with_defaults(mesh.alerts)
    mesh = msgspec.structs.replace(mesh, models=models, alerts=alerts, venues=venues_of(mesh))
    for key, seen, allowed in _contradictions(mesh):
        raise ConfigError(f"{path}: {key} = {seen!r} is impossible; allowed: {allowed}")
    return Config(mesh, root)


def _models(mesh: Mesh, stated: bool) -> tuple[ModelSettings, ...]:
    """The file's models (`stated`: it has any, or says `models = []`: none at all), then default ones that none replaces."""
    own = mesh.models if stated else ()
    names = {model.name for model in own}
    usual = DEFAULT_MODELS if mesh.default_models and (own or not stated) else ()
    return (*own, *(model for model in usual if model.name not in names))


def merge(tree: dict[str, Any], more: dict[str, Any]) -> None:
    """Puts the values of `more` into `tree`, table by table; they replace what is there."""
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            merge(tree[key], value)
        else:
            tree[key] = value


def _sentence(error: msgspec.ValidationError, tree: dict[str, Any]) -> str:
    """What msgspec says of `tree`, with the key's name, the value seen and what is allowed there."""
    what, _, where = str(error).partition(" - at `$")
    key, seen, kind = _place(where.rstrip("`"), tree)
    info = type_info(kind)
    if isinstance(info, StructType) and isinstance(seen, dict):  # a key too many, or one that is missing
        names = [field.name for field in info.fields]
        near = difflib.get_close_matches(what.rpartition(" `")[2].rstrip("`"), names, 1)
        meant = f" (did you mean `{near[0]}`?)" if near and "unknown field" in what else ""
        return f"{key}{': ' if key else ''}{what}{meant}; allowed there: {', '.join(names)}"
    return f"{key} = {seen!r} is impossible; allowed: {_allowed(info, seen)}"


def _place(where: str, tree: dict[str, Any]) -> tuple[str, Any, Any]:
    """The key that `where` leads to (`.venues[...].ws[0]`, as msgspec writes paths), its value and its declared type."""
    key, seen, kind = "", tree, Mesh  # type: Any, Any, Any
    for field, index in re.findall(r"\.(\w+)|\[(\d+|\.\.\.)\]", where):
        if get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
        if field:
            key, seen, kind = f"{key}.{field}", seen[field], get_type_hints(kind, include_extras=True)[field]
        elif index == "...":  # of a table's entries msgspec does not say which
            kind = get_args(kind)[1]
            name = next(name for name, value in seen.items() if not _converts(value, kind))
            key, seen = f"{key}.{name}", seen[name]
        else:
            members = get_args(get_args(kind)[0] if get_origin(kind) is Union else kind)  # a list, or a word in its place
            kind = members[0] if members[-1] is Ellipsis else members[int(index)]
            key, seen = f"{key}[{index}]", seen[int(index)]
    return key.removeprefix("."), seen, kind


def _converts(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


_KINDS: dict[type[msgspec.inspect.Type], tuple[type | tuple[type, ...], str]] = {
    BoolType: (bool, "true or false"), IntType: (int, "a whole number"), FloatType: ((int, float), "a number"),
    StrType: (str, "a text in quotes"), VarTupleType: (list, "a list"),
    DictType: (dict, "a table"), StructType: (dict, "a table"),
}  # fmt: skip


def _allowed(info: msgspec.inspect.Type, seen: object) -> str:
    """What a key of this type may be; the type itself is named where `seen` is of another one."""
    words: str | None = None
    if isinstance(info, UnionType):  # a key that may be left out; TOML has no word for None
        info = info.types[0]
    if isinstance(info, Metadata):
        words, info = (info.extra_json_schema or {}).get("description"), info.type
    if words is not None and isinstance(info, UnionType):
        return words
    if isinstance(info, LiteralType):
        return " or ".join(repr(value) for value in info.values)
    if isinstance(info, TupleType):
        return f"a list of {len(info.item_types)}, each {_KINDS[type(info.item_types[0])][1]}"
    if words is None and isinstance(info, IntType | FloatType):
        words = _range(info)
    kinds, name = _KINDS[type(info)]
    fits = isinstance(seen, kinds) and (isinstance(info, BoolType) or not isinstance(seen, bool))
    if words is None:
        return name
    return words if fits else f"{name}, {words}"


def _range(info: IntType | FloatType) -> str | None:
    """The bounds in words: `1 to 9`, `0 or more`, `more than 0`, `above 0 to 1`."""
    low, high = (info.gt if info.ge is None else info.ge), info.le
    if low is None or high is None:
        return None if low is None else f"{low} or more" if info.gt is None else f"more than {low}"
    return f"{'' if info.gt is None else 'above '}{low} to {high}".replace("-", "−")


def hostable_words(mesh: Mesh) -> list[str]:
    """The words that `host` may hold in this mesh: what the sequencer's process can run beside itself."""
    lines = range(1, mesh.feed.lines + 1)
    venues = sorted({instrument.venue for instrument in mesh.instruments})
    return [
        "model", *(f"model-{model.name}" for model in mesh.models), "executor", "session",
        *(f"session-{venue}" for venue in venues if venue in ORDER_VENUES[1:]),
        *(f"feed-{line}" for line in lines), *(f"feed-{venue}-{line}" for venue in venues for line in lines),
    ]  # fmt: skip


LOCAL_SYMBOL = re.compile(r"(?:[A-Z0-9_]|[^\x00-\x7f])+")  # Binance has symbols beyond ASCII


def _odd_symbols(mesh: Mesh) -> Iterator[tuple[str, object, str]]:
    """The symbols that no venue has; in mode sim also those that are not in the notation of the local exchange."""
    for one in mesh.instruments:
        if not one.symbol or any(letter.isspace() for letter in one.symbol):
            yield "instruments.symbol", one.symbol, "the venue's own name of the instrument, without spaces, like 'BTCUSDT'"
        elif mesh.mode == "sim" and one.venue in LOCAL_VENUES and not LOCAL_SYMBOL.fullmatch(one.symbol):
            allowed = "at the local exchange, as at Binance, capital and other letters, digits and '_', like 'BTCUSDT'"
            yield "instruments.symbol", one.symbol, allowed


def _contradictions(mesh: Mesh) -> Iterator[tuple[str, object, str]]:
    """(key, value, what is allowed) of every key that is impossible beside another one; bounds of one key: bus/settings.py."""
    subjects = [instrument.subject for instrument in mesh.instruments]
    for subject in subjects:
        if len(subject.encode()) > SUBJECT_BYTES:
            yield "instruments.symbol", subject, f"venue.symbol of {SUBJECT_BYTES} bytes at most"
    yield from _odd_symbols(mesh)
    if len(set(subjects)) < len(subjects):
        yield "instruments", subjects, "each only once"
    names = [model.name for model in mesh.models]
    if len(set(names)) < len(names):
        yield "models", names, "each name only once"
    for index, model in enumerate(mesh.models):
        for pattern in model.instruments:
            if not matching([pattern], mesh.instruments):
                allowed = f"what matches one of {some(subjects)}, like 'binance.*'"
                yield f"models[{index}].instruments", pattern, allowed
    yield from contradictions_of_trading(mesh, subjects)
    yield from contradictions_of_notify(mesh.notify)
    yield from contradictions_of_latency(mesh.latency)
    hostable = hostable_words(mesh)
    for word in mesh.host:
        if word not in hostable:
            yield "host", word, " or ".join(map(repr, hostable))
    if mesh.log.outbox_bytes_max < 4 * mesh.log.outbox_segment_bytes:
        yield "log.outbox_bytes_max", mesh.log.outbox_bytes_max, "four segments or more"
    disk = mesh.disk
    if disk.critical_bytes > disk.low_bytes:
        yield "disk.critical_bytes", disk.critical_bytes, f"disk.low_bytes = {disk.low_bytes} or less"
    if disk.critical_inodes > disk.low_inodes:
        yield "disk.critical_inodes", disk.critical_inodes, f"0 to disk.low_inodes = {disk.low_inodes}"
    gateway = mesh.gateway
    if bool(gateway.tls_certificate) != bool(gateway.tls_key):
        yield "gateway.tls_key", gateway.tls_key, "a file beside gateway.tls_certificate, or neither of them"
    if not gateway.tls_certificate and not is_loopback(gateway.host):
        yield "gateway.host", gateway.host, "127.0.0.1, ::1 or localhost; others with gateway.tls_certificate and tls_key"
    leaders = [*dict.fromkeys(instrument.symbol for instrument in mesh.instruments), *subjects]
    populated = mesh.exchange.population if mesh.mode == "sim" and not mesh.exchange.replay else {}  # of a made-up market
    for name, one in populated.items():
        if one.follows not in ("", *leaders) or one.follows == name:
            yield f"exchange.population.{name}.follows", one.follows, f"another of {leaders}"
    yield from contradictions_of_mode(mesh)
