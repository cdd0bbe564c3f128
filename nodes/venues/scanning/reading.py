"""What the compiled scanner reads of a frame: its stream, numbers, levels. `frames` are bytes, from `at` up to `end`."""

from typing import Any

from numba import njit

from tickmesh.nodes.venues.scanning.steps import (
    DIGITS_MAX,
    HASHED,
    KEY,
    KEY_SIZE,
    LEVEL_WORDS,
    MASK,
    POWERS,
    TERMINATOR,
)


@njit(error_model="numpy")
def decimal(frames: Any, at: int, end: int, decimals: int, plan: Any) -> tuple[int, int]:
    """(mantissa of the plain decimal text at `at`, where it ends); the end is 0 where it is none, or does not fit."""
    value, digits, begin = 0, 0, at
    while at < end and 48 <= frames[at] <= 57:
        value = value * 10 + (frames[at] - 48)
        at += 1
        if at - begin > DIGITS_MAX:
            return 0, 0
    digits = at - begin
    missing = decimals
    if at < end and frames[at] == 46 and digits:
        at += 1
        begin = at
        while at < end and 48 <= frames[at] <= 57:
            value = value * 10 + (frames[at] - 48)
            at += 1
            if at - begin + digits > DIGITS_MAX:
                return 0, 0
        missing = decimals - (at - begin)
        if at == begin:
            return 0, 0
        digits += at - begin
    if digits == 0 or missing < 0 or digits + missing > DIGITS_MAX:
        return 0, 0
    return value * plan[POWERS + missing], at


@njit(error_model="numpy")
def whole(frames: Any, at: int, end: int) -> tuple[int, int]:
    """(the whole number above 0 at `at`, where it ends); the end is 0 where it is none, or has too many digits."""
    if at >= end or frames[at] == 48:
        return 0, 0
    value, begin = 0, at
    while at < end and 48 <= frames[at] <= 57:
        value = value * 10 + (frames[at] - 48)
        at += 1
        if at - begin > DIGITS_MAX:
            return 0, 0
    return value, at if at > begin else 0


@njit(error_model="numpy")
def levels(
    frames: Any, at: int, end: int, side: int, columns: int, prices: int, quantities: int, plan: Any, out: Any, to: int,
    room: int,
) -> tuple[int, int]:  # fmt: skip
    """(where the array of levels at `at` ends, where its records in `out` end); 0 where one is not as usual, or has no room."""
    if at >= end or frames[at] != 91:
        return 0, 0
    at += 1
    if at < end and frames[at] == 93:
        return at + 1, to
    while True:
        if at + 1 >= end or frames[at] != 91 or frames[at + 1] != 34 or to + LEVEL_WORDS > room:
            return 0, 0
        price, at = decimal(frames, at + 2, end, prices, plan)
        if at == 0 or price == 0 or at + 2 >= end or frames[at] != 34 or frames[at + 1] != 44 or frames[at + 2] != 34:
            return 0, 0
        lots, at = decimal(frames, at + 3, end, quantities, plan)
        if at == 0 or at + 1 >= end or frames[at] != 34:
            return 0, 0
        at += 1
        for _ in range(columns):
            if at + 1 >= end or frames[at] != 44 or frames[at + 1] != 34:
                return 0, 0
            at += 2
            while at < end and 48 <= frames[at] <= 57:
                at += 1
            if at >= end or frames[at] != 34:
                return 0, 0
            at += 1
        if at + 1 >= end or frames[at] != 93:
            return 0, 0
        out[to], out[to + 1], out[to + 2] = price, lots, side
        to += LEVEL_WORDS
        if frames[at + 1] == 93:
            return at + 2, to
        if frames[at + 1] != 44:
            return 0, 0
        at += 2


@njit(error_model="numpy")
def stream_of(frames: Any, at: int, end: int, plan: Any, texts: Any) -> int:
    """The place in the plan of the stream that a frame's head names; 0 for none of them."""
    terminator, key, hashed = plan[TERMINATOR], at, 5381
    while at < end and frames[at] != terminator:
        hashed = (hashed * 33 + frames[at]) & 0xFFFFFFFF
        at += 1
    slot = hashed & plan[MASK]
    while plan[plan[HASHED] + slot]:
        stream = plan[plan[HASHED] + slot]
        if plan[stream + KEY_SIZE] == at - key:
            differs = 0
            for byte in range(at - key):
                differs |= frames[key + byte] ^ texts[plan[stream + KEY] + byte]
            if differs == 0:
                return int(stream)
        slot = (slot + 1) & plan[MASK]
    return 0
