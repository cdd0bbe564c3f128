"""The usual forms of a venue's frames, as texts: what an adapter tells the scanner, and nothing else.

A form is the JSON text behind the stream's head, byte for byte, with a name in angle brackets for each thing that differs from
frame to frame:

- whole numbers `<id>`, `<first>`, `<previous>`, `<count>`, and `<number>`, which means nothing here;
- times `<event>` and `<at>`, in ms or µs by their size; `<event_ms>` and `<at_ms>`, in ms;
- decimals `<price>`, `<quantity>`, `<bid>`, `<bid_lots>`, `<ask>`, `<ask_lots>`;
- `<sold>` and `<truth>`, true or false, of which the second means nothing; `<side>`, buy or sell;
- arrays of levels ["price","quantity"] `<bids>` and `<asks>`; `<bids4>` and `<asks4>` with two more texts of digits;
- `<checksum>`; `<digits>`, which mean nothing; `<symbol>`, the venue's name of the instrument.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from tickmesh.bus.schema import Kind
from tickmesh.bus.settings import Instrument

PLAIN_NAME = re.compile(r"[A-Za-z0-9._/-]+")  # a symbol that stands in JSON as it is


def _no_floor() -> int:
    return -1


class StreamForms(NamedTuple):
    """One stream of an instrument. `head`: how its frames begin, up to the adapter's terminator; `texts`: their usual forms.

    `floor`: a trade whose id is up to one above it goes the exact way; asked for after frames that went that way.
    """

    head: bytes
    kind: Kind
    instrument: Instrument
    texts: tuple[bytes, ...]
    floor: Callable[[], int] = _no_floor


class UsualForms(NamedTuple):
    """All streams of a line, and the byte at which the head of a frame ends."""

    terminator: bytes
    streams: list[StreamForms]


NONE = UsualForms(b",", [])  # of a venue whose frames all go the exact way
