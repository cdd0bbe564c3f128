"""What a call that hands something to a line's reception gives back."""

from collections.abc import Sequence
from typing import NamedTuple


class Arrived(NamedTuple):
    """What something that arrived has made: the events to say now, and (why, bytes) of what was not understood.

    `attention`: it brought more than events, or a book may want something now.
    """

    said: list[bytearray]
    refused: Sequence[tuple[str, bytes]] = ()
    attention: bool = False
