"""What a book rule is: how the depth changes of one instrument, and its snapshots, become a book that is known to be right.

One class a way in which venues say that nothing is missing between two changes: `booksync.py`, `chained.py`, `checked.py`,
`streamed.py`; a venue's adapter chooses (`book`). A rule does no I/O and keeps no event back: each change that goes in comes
out of the same call, once and in order, whether the book is in step or not. Events are depth events, encoded (`bytearray`).
"""

from enum import Enum
from typing import Protocol

from tickmesh.nodes.venues.books.levels import Levels


class SnapshotOutcome(Enum):
    """The use that a book rule had for a snapshot that it was given."""

    USED = "used"
    HELD = "the stream has not reached it yet"
    TOO_OLD = "the stream began after it: fetch another"
    NOT_WANTED = "the book is in step already"


class BookRule(Protocol):
    """Keeps one instrument's book in step with its venue: takes changes and snapshots, gives the events to publish.

    With `BOOK = "rest"` there is one a line, which outlives a renewal of the connection; else one a connection. A new rule
    knows nothing: it is as after `disconnected`.
    """

    @property
    def synced(self) -> bool:
        """Whether the book is in step with the venue: it has had a snapshot, and nothing was missed or contradicted since."""

    @property
    def resyncs(self) -> int:
        """How often the book fell out of step since the rule was made: a broken chain, a wrong checksum, a crossed book."""

    @property
    def wants_snapshot(self) -> bool:
        """Whether a snapshot is to be fetched by REST. False for ever where snapshots come on the stream.

        True until one was given that can be used. Fetch one only after the stream flows, or it is older than the first change.
        """

    @property
    def wants_resubscription(self) -> bool:
        """Whether the book's stream is to be subscribed anew, for the snapshot that it begins with.

        True until that has come, so ask, wait, and only then ask again. False for ever where snapshots come by REST.
        """

    @property
    def levels(self) -> Levels | None:
        """The book's levels after the last change; right while `synced`. None: the rule compares ids and keeps no levels."""

    def change(self, event: bytearray, first_id: int, last_id: int) -> list[bytearray]:
        """Takes a change of ids `first_id` to `last_id`, as decoded; gives the events to publish now.

        Those are the change (marked where its checksum was right, completed with removals that the venue leaves out), and a
        snapshot that the stream has reached with it.
        """

    def snapshot(self, event: bytearray, last_id: int) -> tuple[SnapshotOutcome, list[bytearray]]:
        """Takes a snapshot as of the change `last_id`; gives its outcome, and the events to publish now.

        `event`: flagged SNAPSHOT, from the stream or by REST.
        """

    def disconnected(self) -> list[bytearray]:
        """Forgets the stream, because its connection is over; gives the events still to publish.

        The next change or snapshot is the first of another connection.
        """

    def begin_anew(self) -> list[bytearray]:
        """Puts the book out of step until another snapshot, though the stream goes on; gives the events still to publish.

        For a message of it could not be read, or depth was left out for a while.
        """

    def image(self, recv_ns: int) -> bytearray | None:
        """The whole book as of the last change, as an event flagged SNAPSHOT; None while it is not known to be right.

        For a reader that has to change to this line. `recv_ns`: its time of receipt. Always None where `levels` is None.
        """
