"""What a call gives back that hands something which arrived to a line's reception."""

from collections.abc import Sequence
from typing import NamedTuple


class Arrived(NamedTuple):
    """What became of messages that arrived: the events to publish now, and (reason, bytes) of what was not understood.

    `attention`: they brought more than events, or a book may want a snapshot now.
    """

    events: list[bytearray]
    refused: Sequence[tuple[str, bytes]] = ()
    attention: bool = False
