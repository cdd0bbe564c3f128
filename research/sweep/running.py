"""`tickmesh.sweep()` and `tickmesh.sweep_bars()`: parts laid out, those that are not kept yet computed, the result."""

import hashlib
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from tickmesh.bus.config import Config, ConfigError, find_root
from tickmesh.bus.schema import Kind
from tickmesh.research.backtest.measures.activity import chosen_interval
from tickmesh.research.opening import settings_of
from tickmesh.research.sources import MeshSource
from tickmesh.research.sweep.child import LIMIT_S, WorkerDied, WorkerProcess
from tickmesh.research.sweep.fetching import fetch, is_url
from tickmesh.research.sweep.identity import DataIdentity, engine_hash, settings_hash
from tickmesh.research.sweep.outcome import BarsOutcome, SweepOutcome
from tickmesh.research.sweep.parts import KernelAnswer, KernelQuestion, PartAnswer, SweepPart, failed
from tickmesh.research.sweep.periods import periods
from tickmesh.research.sweep.processes import ProcessBackend
from tickmesh.research.sweep.store import SweepStore
from tickmesh.research.sweep.variation import OF_BACKTEST, Values, combinations, kernels_of, traded_alone, varied
from tickmesh.storage.archive.catalog import day_of
from tickmesh.storage.archive.file import folder_of
from tickmesh.storage.query.bars import seconds
from tickmesh.storage.query.durations import Every, nanoseconds
from tickmesh.storage.query.names import Instruments, resolve, several
from tickmesh.storage.query.times import ReadError, Time, to_ns

PARTS_MAX = 200_000
STORE = "sweeps.sqlite"  # in the data folder of a mesh's source
Shown = Callable[[str, int, int], object]  # (what is done: "data" or "parts", how many are done, of how many)


class Backend(Protocol):
    """What computes parts: processes of this machine, or a cluster."""

    def run(self, parts: Iterable[SweepPart]) -> Generator[tuple[SweepPart, PartAnswer], None, None]:
        """Gives each part with its answer, in whatever order they are done; what a part does wrong is its answer."""


class _Laid(NamedTuple):
    """A part with what it is kept under; `error`: why it needs no computing."""

    part: SweepPart
    family: str
    trial: str
    error: str = ""


def sweep(
    place: "str | PathLike[str] | None" = None, vary: Values | None = None, start: Time = None, end: Time = None,
    every: Every | None = "1d", instruments: Instruments = None, together: bool = False, strategies: str | Iterable[str] = (),
    store: "str | PathLike[str] | None" = None, workers: int | None = None, cluster: str = "", interval: Every | None = None,
    limit_s: float = LIMIT_S, shown: Shown | None = None, backend: Backend | None = None, **fixed: Any,
) -> SweepOutcome:  # fmt: skip
    """Backtests every combination of parameters on every period and instrument, in parallel; nothing twice (docs/scale.md).

    place        a mesh's folder, the present one, or a URL of fsspec ("s3://bucket/mesh"), of which each machine keeps a copy
    vary         name → values: words of `tickmesh.backtest` (latency, queue, fees, through, impact, seed, warm_up),
                 `models.NAME.PARAMETER`, `strategies.NAME.KEY`, `executor.KEY`, `risk.KEY`; `fixed`: words of all parts
    start, end   of all; every: how long a part is, "1d", "6h"; None: one part
    instruments  those that are traded, each by itself, or one of those named; together: all at once in one part
    store        a file where answers are kept (SQLite); else data/<source>/sweeps.sqlite of the mesh
    workers      processes on this machine; cluster: a scheduler of Dask instead, "tcp://10.0.0.1:8786"
    interval     of the gains that ratios are made of; limit_s: of one part

    A part that fails is a row with a sentence, and is tried again the next time. Ctrl-C and kill cost what is at work then.
    Raises ReadError or ConfigError with a sentence for what cannot be begun.

    `tickmesh.sweep(vary={"queue": "risk_averse probability_log", "models.flow.threshold": [0.3, 0.5]}, start="7d").trials[0]`
    """
    named, folder = _place(place)
    named_strategies = several(strategies, "strategies")
    try:
        base = settings_of(folder, "a sweep")
    except ConfigError as error:
        raise ReadError(str(error)) from None
    if unknown := sorted(set(fixed) - set(OF_BACKTEST)):
        raise ReadError(f"{', '.join(unknown)}: no word of a backtest; those are {', '.join(OF_BACKTEST)}")
    if doubled := sorted(set(fixed) & set(vary or {})):
        raise ReadError(f"{', '.join(doubled)} is varied and fixed at once")
    trials = [{**fixed, **one} for one in combinations(vary or {})]
    spans = periods(*_span(base, start, end), every)
    interval_ns = chosen_interval(min(b - a for a, b in spans)) if interval is None else nanoseconds(interval)
    subjects = _subjects(base, instruments, together, named_strategies)
    if (count := len(trials) * len(spans) * len(subjects)) > PARTS_MAX:
        raise ReadError(
            f"{count} parts; {PARTS_MAX} are allowed: fewer values or instruments, longer periods, or several sweeps"
        )
    backend = backend or _backend(workers, cluster, limit_s)
    path = Path(store) if store is not None else _usual_store(named, base)
    with SweepStore(path) as kept:
        data = DataIdentity(base, kept.digest, lambda done, of: shown("data", done, of) if shown else None)
        layer = _Layer(named, folder, named_strategies, interval_ns, data)
        laid = [one for trial in trials for one in layer.lay(trial, spans, subjects)]
        computed = _compute(kept, laid, backend, shown)
        made = max(kept.trials(family) for family in {one.family for one in laid})
        parameters = [one.part.parameters for one in laid]
        return SweepOutcome(path, [one.part.key for one in laid], parameters, interval_ns, made, computed)


def sweep_bars(
    place: "str | PathLike[str] | None" = None, every: Every = "1m", start: Time = None, end: Time = None,
    instruments: Instruments = None, to: "str | PathLike[str]" = "bars", store: "str | PathLike[str] | None" = None,
    workers: int | None = None, cluster: str = "", limit_s: float = LIMIT_S, shown: Shown | None = None,
    backend: Backend | None = None,
) -> BarsOutcome:  # fmt: skip
    """Resamples days × instruments into Parquet, TO/venue/instrument/2024-08-09.parquet, in parallel (docs/scale.md).

    `to`: a folder, or a URL of fsspec; other words as of `sweep`. What is there and of the same data is not made again. Columns
    are those of `Database.bars`. Raises ReadError with a sentence for what cannot be begun.

    `tickmesh.sweep_bars(every="1m", start="2024-08-01", end="2024-09-01", to="bars-1m").files`
    """
    named, folder = _place(place)
    base = settings_of(folder, "a sweep")
    subjects = resolve(MeshSource(base).instruments(), instruments, folder)
    spans = periods(*_span(base, start, end), "1d")
    if (count := len(spans) * len(subjects)) > PARTS_MAX:
        raise ReadError(f"{count} days × instruments; {PARTS_MAX} are allowed: a shorter span, or fewer instruments")
    target = str(to) if is_url(str(to)) else str(Path(to).resolve())
    backend = backend or _backend(workers, cluster, limit_s)
    path = Path(store) if store is not None else _usual_store(named, base)
    with SweepStore(path) as kept:
        data = DataIdentity(base, kept.digest, lambda done, of: shown("data", done, of) if shown else None)
        laid = []
        for subject in subjects:
            for begin_ns, end_ns in spans:
                name = f"{folder_of(Kind.trade, subject)}/{day_of(begin_ns)}.parquet"
                identity = data.of(end_ns, subject, begin_ns)
                key = _hash("bars", target, name, seconds(every), begin_ns, end_ns, engine_hash(), identity)
                part = SweepPart(
                    key=key, work="bars", place=named, parameters={}, strategies=(), instrument=subject, start_ns=begin_ns,
                    end_ns=end_ns, interval_ns=0, engine=engine_hash(), kernels={}, data=data.mark(end_ns),
                    to=f"{target}/{name}", every_s=seconds(every),
                )  # fmt: skip
                laid.append(_Laid(part, "bars", ""))
        computed = _compute(kept, laid, backend, shown, _is_there)
        return BarsOutcome(path, [one.part.key for one in laid], [one.part.to for one in laid], computed)


def _is_there(part: SweepPart) -> bool:
    if not is_url(part.to):
        return Path(part.to).is_file()
    import fsspec

    storage, path = fsspec.core.url_to_fs(part.to)
    return bool(storage.exists(path))


class _Layer:
    """Lays out the parts of one trial after the other. Kernels are looked at by a process of its own, once each."""

    def __init__(self, place: str, folder: Path, strategies: tuple[str, ...], interval_ns: int, data: DataIdentity):
        self._place, self._folder, self._strategies = place, folder, strategies
        self._interval_ns, self._data = interval_ns, data
        self._codes: dict[str, str] = {}

    def lay(self, trial: Mapping[str, Any], spans: Iterable[tuple[int, int]], subjects: Iterable[str]) -> Iterator[_Laid]:
        """The parts of a trial: by period, then instrument. Settings that are impossible are an error of each."""
        parameters = _plain(trial)
        try:
            config, words = varied(self._folder, parameters)
        except (ConfigError, ReadError) as error:
            for subject in subjects:
                for begin_ns, end_ns in spans:
                    part = self._part(
                        parameters, subject, begin_ns, end_ns, {}, _hash("impossible", parameters, subject, begin_ns)
                    )
                    yield _Laid(part, "impossible", "", str(error))
            return
        for subject in subjects:
            try:
                own = traded_alone(config, subject, self._strategies)
            except ReadError as error:
                own, why = config, str(error)
            else:
                why = ""
            kernels = self._kernels(own)
            settings = settings_hash(own, words)
            family = _hash(sorted(one.name for one in own.strategies))
            trial_key = _hash(kernels, settings_hash(config, words))
            for begin_ns, end_ns in spans:
                # The latency of recorded orders is taken from all of them, whenever they were.
                until = 1 << 62 if words.get("latency") == "recorded" else end_ns
                data = self._data.of(until)
                key = _hash(engine_hash(), settings, kernels, data, subject, begin_ns, end_ns, self._interval_ns)
                yield _Laid(self._part(parameters, subject, begin_ns, end_ns, kernels, key), family, trial_key, why)

    def _part(
        self, parameters: dict[str, Any], subject: str, begin_ns: int, end_ns: int, kernels: dict[str, str], key: str
    ) -> SweepPart:
        return SweepPart(
            key=key, work="backtest", place=self._place, parameters=parameters, strategies=self._strategies, instrument=subject,
            start_ns=begin_ns, end_ns=end_ns, interval_ns=self._interval_ns, engine=engine_hash(), kernels=kernels,
            data=self._data.mark(end_ns),
        )  # fmt: skip

    def _kernels(self, config: Config) -> dict[str, str]:
        names = kernels_of(config)
        if missing := tuple(name for name in names if name not in self._codes):
            child = WorkerProcess()
            try:
                child.ask(KernelQuestion(place=self._place, kernels=missing))
                answer = child.answer_within(LIMIT_S)
                assert isinstance(answer, KernelAnswer)
                self._codes |= answer.codes
            except WorkerDied as error:
                raise ReadError(f"the models {', '.join(missing)} cannot be looked at: {error}") from None
            finally:
                child.close()
        return {name: self._codes[name] for name in names}


def _compute(
    kept: SweepStore,
    laid: list[_Laid],
    backend: Backend,
    shown: Shown | None,
    is_there: Callable[[SweepPart], bool] | None = None,
) -> int:
    """Computes what is not kept; gives how many parts that were. Each answer is kept before the next one is waited for."""
    done = kept.done(one.part.key for one in laid)
    by_key = {one.part.key: one for one in laid}
    if is_there is not None:
        done = {key for key in done if is_there(by_key[key].part)}
    impossible = [one for one in laid if one.error]
    for one in impossible:
        kept.put(one.part, one.family, one.trial, failed(one.part, one.error))
    wanted = [one.part for one in laid if not one.error and one.part.key not in done]
    count = len(laid) - len(wanted)
    if shown:
        shown("parts", count, len(laid))
    if not wanted:
        return 0
    with closing(backend.run(wanted)) as answers:
        for part, answer in answers:
            one = by_key[part.key]
            kept.put(part, one.family, one.trial, answer)
            count += 1
            if shown:
                shown("parts", count, len(laid))
    return len(wanted)


def _place(place: "str | PathLike[str] | None") -> tuple[str, Path]:
    """(what workers are given, the folder that is read here)."""
    if place is None:
        try:
            root = find_root()
        except ConfigError as error:
            raise ReadError(f"{error}; or name the mesh's folder") from None
        return str(root), root
    text = os.fspath(place)
    if is_url(text):
        return text, fetch(text)
    root = Path(text).expanduser().resolve()
    return str(root), root


def _usual_store(named: str, config: Config) -> Path:
    if is_url(named):
        raise ReadError("data at a URL have no folder here for the answers: name a store, like store='sweep.sqlite'")
    return config.source_dir / STORE


def _span(config: Config, start: Time, end: Time) -> tuple[int, int]:
    source = MeshSource(config)
    first, last = to_ns(start), to_ns(end)
    if first is None and not (first := source.begin_ns()):
        raise ReadError(f"nothing was recorded in {source.place} yet")
    return first, source.now()[1] + 1 if last is None else last


def _subjects(config: Config, instruments: Instruments, together: bool, strategies: tuple[str, ...]) -> list[str]:
    traded = [one.subject for one in traded_alone(config, "", strategies).traded]
    if not traded:
        raise ReadError("no strategy of mesh.toml trades an instrument of it; state them in [[strategies]] or [executor]")
    if together:
        if instruments is not None:
            raise ReadError(
                "`together` trades all that the strategies do; leave the instruments out, or name them in mesh.toml"
            )
        return [""]
    return resolve(sorted(traded), instruments, "what the strategies trade")


def _backend(workers: int | None, cluster: str, limit_s: float) -> Backend:
    if cluster:
        if workers is not None:
            raise ReadError("`workers` are of this machine, those of a cluster are begun there; name one of both")
        from tickmesh.research.sweep.cluster import ClusterBackend

        return ClusterBackend(cluster, limit_s)
    if workers is not None and workers < 1:
        raise ReadError(f"{workers} workers; 1 or more are allowed")
    return ProcessBackend(workers, limit_s)


def _plain(trial: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as JSON has them; a file of latencies by its whole path, since workers may run in another folder."""
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(dict(trial)))
    latency = found.get("latency")
    if isinstance(latency, str) and latency and Path(latency).is_file():
        found["latency"] = str(Path(latency).resolve())
    return found


def _hash(*values: object) -> str:
    return hashlib.sha256(msgspec.json.encode(values, order="sorted")).hexdigest()[:32]
