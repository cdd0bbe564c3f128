"""The books of a line: which there are, what they want of the venue, and what has been counted of them."""

from collections.abc import Iterable, Mapping, Sequence

from tickmesh.bus.schema import Kind
from tickmesh.bus.settings import FeedSettings, Instrument
from tickmesh.nodes.feed.streams import Source, key_of
from tickmesh.nodes.venues.adapter import Adapter
from tickmesh.nodes.venues.books.rule import BookRule


class LineBooks:
    """The books of all instruments of a line (subject → instrument). `sources`: its open connections, the current one first.

    `shared`: with REST snapshots, the book of each subject: it is the line's and outlives a renewal, since changes of the next
    connection follow by their ids. Empty at other venues, where each connection has its own.
    """

    def __init__(self, adapter: Adapter, instruments: Mapping[str, Instrument], settings: FeedSettings):
        self.adapter = adapter
        self.instruments = instruments
        self.settings = settings
        self.shared: dict[str, BookRule] = {}
        if adapter.BOOK == "rest":
            self.shared = {subject: adapter.book(instrument, settings) for subject, instrument in instruments.items()}
        self.used_snapshots: set[str] = set()  # subjects that have had one since the line was last without a connection
        self.restarts = 0  # books begun anew because a message of theirs was refused
        self._resyncs_gone = 0  # of books whose connection is over

    def take_up(self, instrument: Instrument) -> None:
        """Makes the line's book of an instrument that was taken up later than the others."""
        if self.adapter.BOOK == "rest":
            self.shared[instrument.subject] = self.adapter.book(instrument, self.settings)

    def of_connection(self, subject: str) -> BookRule:
        """The book that the changes of an instrument on a new connection go to: the line's, or a new one."""
        return self.shared.get(subject) or self.adapter.book(self.instruments[subject], self.settings)

    def of_subject(self, subject: str, sources: Iterable[Source]) -> Sequence[tuple[Source | None, BookRule]]:
        """The books of one instrument: each with its connection, or the line's with None."""
        if self.shared:
            return [(None, self.shared[subject])]
        key = key_of(Kind.depth, subject)
        found = [(source, source.streams[key].book) for source in sources]
        return [(source, book) for source, book in found if book is not None]

    def wanting_snapshots(self, sources: Sequence[Source]) -> list[str]:
        """Subjects whose book wants a snapshot by REST; with `feed.resync` off, those only that have had none yet."""
        wanting = [s for s in self.instruments if any(book.wants_snapshot for _, book in self.of_subject(s, sources))]
        return [subject for subject in wanting if self.settings.resync or subject not in self.used_snapshots]

    def wanting_resubscriptions(self, source: Source) -> list[Instrument]:
        """Instruments whose depth is to be subscribed anew on a connection, for the snapshot that it begins with."""
        if self.shared or not self.settings.resync:
            return []
        by_key = {key_of(Kind.depth, subject): instrument for subject, instrument in self.instruments.items()}
        return [by_key[key] for key, book in source.books() if book.wants_resubscription]

    def resyncs(self, sources: Sequence[Source]) -> int:
        """How often a book of this line fell out of step, counted since the process began."""
        books = [book for subject in self.instruments for _, book in self.of_subject(subject, sources)]
        return self._resyncs_gone + self.restarts + sum(book.resyncs for book in books)

    def forget(self, source: Source) -> None:
        """Takes notice that a connection and its books are gone; what they counted stays counted."""
        if not self.shared:
            self._resyncs_gone += sum(book.resyncs for _, book in source.books())
