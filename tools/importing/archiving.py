"""An import into the archive of a source of its own: group after group, each taken up again where it was interrupted."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from tickmesh.bus.config import Config
from tickmesh.bus.instruments import DecidedInstruments, ExponentDecision
from tickmesh.bus.segments import Batch
from tickmesh.bus.settings import Instrument
from tickmesh.bus.wire import decode
from tickmesh.nodes.venues.parsing.decimals import DecimalError
from tickmesh.nodes.venues.parsing.writer import definition
from tickmesh.storage.archive.reader import ArchiveReader
from tickmesh.storage.archive.seal import Sealer
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.tools.importing import event_arrays, exported_files
from tickmesh.tools.importing.assembly import Assembly, Tally
from tickmesh.tools.importing.plan import LATE_NS, TEXT, Chain, chains_of
from tickmesh.tools.importing.rows import OddRow, Said, in_order, merged
from tickmesh.tools.importing.source import Known, SourceFile
from tickmesh.tools.importing.state import Beginning, ImportedFile, ImportState, write_state
from tickmesh.tools.importing.text_files import Progress
from tickmesh.tools.terminal import Failure

BLOCK_EVENTS = 100_000  # that are in memory, and then a cut of the archive
BLOCK_BYTES = 64 << 20
USUAL_EXPONENT = -8
READERS: dict[str, Callable[[SourceFile, Known, Progress], Iterator[Said]]] = {
    **{name: format.read for format in TEXT for name in format.NAMES},
    event_arrays.ARRAYS: event_arrays.read,
    exported_files.EXPORT: exported_files.read,
}


class StatedTerms(NamedTuple):
    """What the person says of the instruments: tick and lot size as decimal text, "" for not known; exponents, None for −8."""

    tick: str = ""
    lot: str = ""
    price_exponent: int | None = None
    quantity_exponent: int | None = None

    def words(self) -> dict[str, str]:
        """As they are remembered with an import that was begun."""
        return {name: str(value) for name, value in self._asdict().items() if value not in ("", None)}


def decide(config: Config, sources: list[SourceFile], terms: StatedTerms, keep: bool) -> dict[str, Instrument]:
    """The instruments of sources by subject, at exponents that are decided once for the folder and stay. Raises Failure."""
    wanted: dict[str, ExponentDecision] = {}
    for source in sources:
        usual = (USUAL_EXPONENT, USUAL_EXPONENT)
        if source.format == exported_files.EXPORT:
            usual = exported_files.exponents_of(source)
        price, quantity = (said if said is not None else own for said, own in zip(terms[2:], usual))
        for subject in source.subjects:
            wanted.setdefault(subject, ExponentDecision(price, quantity, terms.tick, terms.lot))
    decided = DecidedInstruments(config)
    known = {one.subject: one for one in decided.keep(wanted)} if keep else _as_decided(decided, wanted)
    for subject, one in known.items():
        for name, seen, said in zip(("price", "quantity"), (one.price_exponent, one.quantity_exponent), terms[2:]):
            if said is not None and said != seen:
                raise Failure(f"{subject} is stored here with {name} exponent {seen}, and not {said}: take another --source")
    return known


def _as_decided(decided: DecidedInstruments, wanted: Mapping[str, ExponentDecision]) -> dict[str, Instrument]:
    """As `decide` would keep them, without writing anything."""
    found = {}
    for subject, one in wanted.items():
        venue, _, symbol = subject.partition(".")
        found[subject] = decided.get(subject) or Instrument(symbol, venue, one.price_exponent, one.quantity_exponent)
    return found


def definitions_of(instruments: Mapping[str, Instrument], terms: StatedTerms, stored: dict[str, str]) -> list[bytearray]:
    """The `instrument` events with which a group begins, as far as they are news: exponents, and the sizes that are said.

    `stored`: subject → the record that is stored, in hex; what is news is put into it. A size that nobody has said is 0,
    not known; none is made up. Raises Failure.
    """
    out = []
    for subject, one in sorted(instruments.items()):
        if subject in stored and not terms.tick:
            continue
        try:
            event = definition(one, 0, tick_size=terms.tick or "0", lot_size=terms.lot or "0")
        except DecimalError as error:
            raise Failure(f"--tick {terms.tick} and --lot {terms.lot} are no sizes of {subject}: {error}") from None
        said = decode(event).records.tobytes().hex()
        if stored.get(subject) != said:
            stored[subject] = said
            out.append(event)
    return out


class FileCounts(NamedTuple):
    """How many rows of each file were taken, by its number in the group."""

    rows: Counter[int]
    odd: Counter[int]


def rows_of(group: list[SourceFile], known: Known, progress: Progress) -> Iterator[tuple[int, Said]]:
    """(number of the file in the group, row) of all files, in order of time."""
    numbers = {one.path: number for number, one in enumerate(group)}

    def rows(chain: Chain) -> Iterator[tuple[int, Said]]:
        for source in chain:
            found = READERS[source.format](source, known, progress)
            ordered = found if source.format == exported_files.EXPORT else in_order(found)
            number = numbers[source.path]
            yield from ((number, one) for one in ordered)

    return merged([rows(chain) for chain in chains_of(group)])


def events_of(
    assembly: Assembly, group: list[SourceFile], counts: FileCounts, rows: Iterator[tuple[int, Said]]
) -> Iterator[bytearray]:
    """The events of a group's rows, and of its end."""
    for number, one in rows:
        if isinstance(one, OddRow):
            counts.odd[number] += 1
            yield assembly.take_odd(group[number].path.name, one)
        else:
            counts.rows[number] += 1
            yield from assembly.take(one)
    yield from assembly.end()


class ImportArchive:
    """The archive of an imported source, opened to be written; with `dry` nothing is."""

    def __init__(self, config: Config, state: ImportState, dry: bool):
        self.config, self.state, self.dry = config, state, dry
        self.writer = None if dry else ArchiveWriter(config.archive_dir)
        self.sealed: list[str] = []

    def close(self) -> None:
        """Gives up the archive's lock."""
        if self.writer is not None:
            self.writer.close()

    def take_group(self, group: list[SourceFile], terms: StatedTerms, tally: Tally, progress: Progress) -> None:
        """Archives all rows of a group, then says so in import.json. Raises Failure; what is archived stays."""
        if group[0].window.first_ns < self.state.seq_ns - LATE_NS:
            raise Failure(
                f"{group[0].path} begins before the end of what is in {self.config.source_dir} already, and a log's time never "
                "goes back: import all files of the time together into another --source"
            )
        instruments = decide(self.config, group, terms, not self.dry)
        own = {subject: one for subject, one in instruments.items() if not _is_exported(group, subject)}
        stored = dict(self.state.definitions)
        definitions = definitions_of(own, terms, stored)
        if not self.dry:
            self.state.begun = Beginning({one.sha256: one.path.name for one in group}, terms.words())
            write_state(self.config.source_dir, self.state)
        assembly = Assembly(self.state, tally)  # a new one for each group, so that one taken up again is no other
        counts = FileCounts(Counter(), Counter())
        files = [_described(one) for one in group]
        begun = assembly.begin({"files": files, "mode": "import"}, definitions, group[0].window.first_ns)
        rows = rows_of(group, Known(instruments, assembly.ids), progress)

        def all_events() -> Iterator[bytearray]:
            yield from begun
            yield from events_of(assembly, group, counts, rows)

        self._archive(all_events(), self.state.seq + 1)
        assembly.keep()
        self.state.definitions = stored
        self.state.files = self.state.files + [_entry(one, counts, number) for number, one in enumerate(group)]
        self.state.begun = None
        if self.writer is not None:
            write_state(self.config.source_dir, self.state)

    def seal(self) -> None:
        """Seals every day that is over in the archive, but the last one: more of that may follow."""
        if self.writer is None:
            return
        sealer = Sealer(self.writer)
        while (day := sealer.due(1 << 62)) is not None:
            sealer.seal(day)
            self.sealed.append(day)

    def _archive(self, events: Iterator[bytearray], first: int) -> None:
        """Archives what is not there yet of events from seq `first` on; what is there has to be the same."""
        there = self.writer.archived_seq if self.writer is not None else 0
        block: list[bytearray] = []
        size, seq = 0, first - 1
        for seq, event in enumerate(events, first):
            if self.writer is None or seq < there:
                continue
            if seq == there:
                self._check_same(event, seq)
                continue
            block.append(event)
            size += len(event)
            if len(block) >= BLOCK_EVENTS or size >= BLOCK_BYTES:
                self._cut(block)
                block, size = [], 0
        self._cut(block)
        if self.writer is not None and seq < there:
            raise self._other(seq)

    def _cut(self, block: list[bytearray]) -> None:
        if block and self.writer is not None:
            first = self.writer.archived_seq + 1
            last = first + len(block) - 1
            batch = Batch(first, last, memoryview(b"".join(block)))
            self.writer.archive([batch], last, BLOCK_EVENTS, int(self.state.log_id, 16))

    def _check_same(self, event: bytearray, seq: int) -> None:
        stored = next(ArchiveReader(self.config.archive_dir).events(seq - 1, seq), None)
        if stored is None or bytes(stored.raw) != bytes(event):
            raise self._other(seq)

    def _other(self, seq: int) -> Failure:
        return Failure(
            f"the import that was interrupted at event {seq} of {self.config.source_dir} cannot be gone on with: the files "
            "give other events now than they did then (another version of this program?). Remove that folder and import again"
        )


def _is_exported(group: list[SourceFile], subject: str) -> bool:
    return any(one.format == exported_files.EXPORT and subject in one.subjects for one in group)


def _described(source: SourceFile) -> dict[str, object]:
    return {"name": source.path.name, "sha256": source.sha256, "format": source.format, "lacks": list(source.lacks)}


def _entry(source: SourceFile, counts: FileCounts, number: int) -> ImportedFile:
    kinds = tuple(kind.name for kind in source.kinds)
    return ImportedFile(
        source.path.name, source.sha256, source.size, source.format, source.subjects, kinds, *source.window,
        counts.rows[number], counts.odd[number], source.lacks,
    )  # fmt: skip
