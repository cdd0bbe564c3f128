"""UsualForms as the numbers that the compiled scanner works by (steps.py)."""

import re
from array import array
from typing import NamedTuple

from tickmesh.bus.wire import encode
from tickmesh.nodes.venues.parsing.decimals import POWERS as POWERS_OF_TEN
from tickmesh.nodes.venues.scanning import steps
from tickmesh.nodes.venues.scanning.forms import PLAIN_NAME, StreamForms, UsualForms

_NAME = re.compile(rb"<([a-z_0-9]+)>")
_STEPS = {
    b"id": (steps.WHOLE, steps.ID, 0),
    b"first": (steps.WHOLE, steps.FIRST, 0),
    b"previous": (steps.WHOLE, steps.PREVIOUS, 0),
    b"count": (steps.WHOLE, steps.COUNT, 0),
    b"event": (steps.TIME, steps.EVENT_TIME, 0),
    b"at": (steps.TIME, steps.AT, 0),
    b"event_ms": (steps.MILLISECONDS, steps.EVENT_TIME, 0),
    b"at_ms": (steps.MILLISECONDS, steps.AT, 0),
    b"price": (steps.PRICE, steps.TRADE_PRICE, 0),
    b"quantity": (steps.QUANTITY, steps.TRADE_QUANTITY, 0),
    b"bid": (steps.PRICE, steps.BID, 0),
    b"bid_lots": (steps.QUANTITY, steps.BID_LOTS, 0),
    b"ask": (steps.PRICE, steps.ASK, 0),
    b"ask_lots": (steps.QUANTITY, steps.ASK_LOTS, 0),
    b"sold": (steps.TRUTH, steps.SOLD, 0),
    b"number": (steps.WHOLE, steps.IGNORED, 0),
    b"truth": (steps.TRUTH, steps.IGNORED, 0),
    b"side": (steps.SIDE, steps.SOLD, 0),
    b"digits": (steps.DIGITS, 0, 0),
    b"checksum": (steps.SIGNED, steps.CHECKSUM, 0),
    b"bids": (steps.LEVELS, steps.BIDS, 0),
    b"asks": (steps.LEVELS, steps.ASKS, 0),
    b"bids4": (steps.LEVELS, steps.BIDS, 2),
    b"asks4": (steps.LEVELS, steps.ASKS, 2),
}
_RECORD_BYTES = {steps.TRADE: steps.TRADE_WORDS * 8, steps.QUOTE: steps.QUOTE_WORDS * 8, steps.DEPTH: steps.LEVEL_WORDS * 8}


class ScanPlan(NamedTuple):
    """What the kernel is given: 64-bit words, and the bytes of heads and literals that they point at."""

    words: "array[int]"
    texts: bytes
    floors: tuple[tuple[int, StreamForms], ...]  # where the floor of each stream stands


def plan_of(forms: UsualForms) -> ScanPlan:
    """Writes the plan of a line's streams. Raises KeyError for a name in a form that means nothing."""
    streams = [form for form in forms.streams if PLAIN_NAME.fullmatch(form.instrument.symbol)]
    slots = 4
    while slots < 4 * len(streams):
        slots *= 2
    words, texts = array("q", bytes(8 * steps.FIXED)), bytearray()
    words[steps.MASK], words[steps.TERMINATOR], words[steps.HASHED] = slots - 1, forms.terminator[0], steps.FIXED
    words[steps.POWERS : steps.POWERS + steps.POWER_COUNT] = array("q", POWERS_OF_TEN)
    words.extend([0] * slots)
    floors = []
    for form in streams:
        place = len(words)
        forms_at = place + steps.STREAM_WORDS + steps.HEADER_WORDS
        compiled = array("q", bytes(8 * len(form.texts)))
        for number, text in enumerate(form.texts):
            compiled[number] = forms_at + len(compiled)
            found = _steps_of(text.replace(b"<symbol>", form.instrument.symbol.encode()), texts)
            compiled.append(len(found) // steps.STEP_WORDS)
            compiled.extend(found)
        image = encode(form.kind, form.instrument.subject, bytes(_RECORD_BYTES[form.kind]))[: steps.HEADER_WORDS * 8]
        stream = array("q", bytes(8 * steps.STREAM_WORDS))
        stream[steps.KEY], stream[steps.KEY_SIZE], stream[steps.KIND] = len(texts), len(form.head), form.kind
        stream[steps.IMAGE], stream[steps.FORMS] = place + steps.STREAM_WORDS, forms_at
        stream[steps.FORM_COUNT] = len(form.texts)
        stream[steps.PRICE_DECIMALS] = -form.instrument.price_exponent
        stream[steps.QUANTITY_DECIMALS] = -form.instrument.quantity_exponent
        stream[steps.FLOOR] = form.floor()
        texts += form.head
        words += stream + array("q", bytes(image)) + compiled
        floors.append((place + steps.FLOOR, form))
        slot = _hashed(form.head) & (slots - 1)
        while words[steps.FIXED + slot]:
            slot = (slot + 1) & (slots - 1)
        words[steps.FIXED + slot] = place
    return ScanPlan(words, bytes(texts), tuple(floors))


def _steps_of(text: bytes, texts: bytearray) -> "array[int]":
    found = array("q")
    for place, part in enumerate(_NAME.split(text)):
        if place % 2:
            found.extend(_STEPS[part])
        elif part:
            found.extend((steps.LITERAL, len(texts), len(part)))
            texts += part
    return found


def _hashed(head: bytes) -> int:
    value = 5381
    for byte in head:
        value = (value * 33 + byte) & 0xFFFFFFFF
    return value
