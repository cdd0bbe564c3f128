"""The compiled scanner: frames in the very bytes of a venue's usual forms become events. What differs is left to the adapter.

What a form is made of is a table, the plan (`plan.py` writes it): so one kernel reads every venue. A frame is led to its stream
by its head, and then compared with each form of it, step by step. No step guesses: where a byte, a size or a bound is another,
the frame is not recognised, and goes the exact way. This module imports numba: feeds load what was compiled of it by
`bus/compiled_objects.py`.
"""

from typing import Any

from numba import njit, types

from tickmesh.nodes.venues.scanning.reading import decimal, levels, stream_of, whole
from tickmesh.nodes.venues.scanning.steps import (
    ASK,
    ASK_LOTS,
    ASKS,
    AT,
    BATCH,
    BID,
    BID_LOTS,
    BIDS,
    CHECKSUM,
    COUNT,
    DIGITS,
    ENDS,
    EVENT_TIME,
    FIRST,
    FIRST_ID_WORD,
    FLOOR,
    FORM_COUNT,
    FORMS,
    FRAME_COUNT,
    HAS_CHECKSUM,
    HEADER_WORDS,
    ID,
    IMAGE,
    KEY_SIZE,
    KIND,
    LAST_FORM,
    LAST_ID_WORD,
    LEVEL_WORDS,
    LITERAL,
    MICROSECONDS_FROM,
    MICROSECONDS_MAX,
    MILLISECONDS,
    MILLISECONDS_MAX,
    OUT,
    OUT_ROOM,
    PLAN,
    PREVIOUS,
    PRICE,
    PRICE_DECIMALS,
    QUANTITY,
    QUANTITY_DECIMALS,
    QUOTE,
    QUOTE_WORDS,
    RECV_NS,
    RECV_WORD,
    RESERVED_WORD,
    SIDE,
    SIDES,
    SIGNED,
    SIZES,
    SOLD,
    STEP_WORDS,
    TIME,
    TRADE,
    TRADE_PRICE,
    TRADE_QUANTITY,
    TRADE_WORDS,
    TRUTH,
    UNREAD,
    VALUE_COUNT,
    VALUES,
    VENUE_WORD,
    WHOLE,
)


@njit(error_model="numpy")
def read_form(
    frames: Any, at: int, end: int, steps: int, step_count: int, stream: int, plan: Any, texts: Any, out: Any, to: int,
    room: int,
) -> int:  # fmt: skip
    """Where the records in `out` of a frame in this form end (`to`, where it has no levels); 0 for a frame in another form."""
    for value in range(VALUE_COUNT):
        plan[VALUES + value] = -1
    plan[SIDES] = 0
    for place in range(steps, steps + step_count * STEP_WORDS, STEP_WORDS):
        step, first, second = plan[place], plan[place + 1], plan[place + 2]
        if step == LITERAL:
            if at + second > end:
                return 0
            differs = 0
            for byte in range(second):
                differs |= frames[at + byte] ^ texts[first + byte]
            if differs:
                return 0
            at += second
        elif step in (PRICE, QUANTITY):
            decimals = plan[stream + PRICE_DECIMALS] if step == PRICE else plan[stream + QUANTITY_DECIMALS]
            plan[VALUES + first], at = decimal(frames, at, end, decimals, plan)
            if at == 0:
                return 0
        elif step in (WHOLE, TIME, MILLISECONDS):
            value, at = whole(frames, at, end)
            if at == 0:
                return 0
            if step == TIME and value >= MICROSECONDS_FROM:
                if value > MICROSECONDS_MAX:
                    return 0
                value *= 1000
            elif step != WHOLE:
                if value > MILLISECONDS_MAX:
                    return 0
                value *= 1_000_000
            plan[VALUES + first] = value
        elif step == TRUTH:
            if (
                at + 4 <= end
                and frames[at] == 116
                and frames[at + 1] == 114
                and frames[at + 2] == 117
                and frames[at + 3] == 101
            ):
                plan[VALUES + first] = 1
                at += 4
            elif (
                at + 5 <= end and frames[at] == 102 and frames[at + 1] == 97 and frames[at + 2] == 108 and frames[at + 3] == 115
                and frames[at + 4] == 101
            ):  # fmt: skip
                plan[VALUES + first] = 0
                at += 5
            else:
                return 0
        elif step == SIDE:
            if at + 3 <= end and frames[at] == 98 and frames[at + 1] == 117 and frames[at + 2] == 121:
                plan[VALUES + first] = 0
                at += 3
            elif (
                at + 4 <= end
                and frames[at] == 115
                and frames[at + 1] == 101
                and frames[at + 2] == 108
                and frames[at + 3] == 108
            ):
                plan[VALUES + first] = 1
                at += 4
            else:
                return 0
        elif step == DIGITS:
            while at < end and 48 <= frames[at] <= 57:
                at += 1
        elif step == SIGNED:
            below = at < end and frames[at] == 45
            if below:
                at += 1
            value, at = whole(frames, at, end)
            if at == 0 or value >= 1 << 31:
                return 0
            plan[VALUES + first] = (-value if below else value) & 0xFFFFFFFF
        else:
            side = 1 if first == BIDS else 255
            before = to
            at, to = levels(
                frames,
                at,
                end,
                side,
                second,
                plan[stream + PRICE_DECIMALS],
                plan[stream + QUANTITY_DECIMALS],
                plan,
                out,
                to,
                room,
            )
            if at == 0:
                return 0
            plan[VALUES + first] = to - before
            if plan[SIDES] == 0:
                plan[SIDES] = first
    return to if at == end else 0


@njit(error_model="numpy")
def finish(kind: int, stream: int, start: int, to: int, recv_ns: int, plan: Any, out: Any, room: int) -> int:
    """Writes the event at `start` of the values that a form gave; gives its end, 0 for values that the adapter has to judge."""
    values = plan
    last_id = values[VALUES + ID]
    first_id, at = last_id, values[VALUES + AT]
    header_ns = values[VALUES + EVENT_TIME]
    if header_ns < 0:
        header_ns = at if at >= 0 else 0
    body, count, reserved = start + HEADER_WORDS, 1, 0
    if kind == TRADE:
        price, lots, many = values[VALUES + TRADE_PRICE], values[VALUES + TRADE_QUANTITY], values[VALUES + COUNT]
        if price <= 0 or lots <= 0 or last_id - 1 <= plan[stream + FLOOR]:
            return 0
        if many > 0:
            if many > last_id + 1:
                return 0
            first_id = last_id - many + 1
        out[body], out[body + 1], out[body + 2], out[body + 3] = last_id, price, lots, at
        out[body + 4], out[body + 5] = header_ns, 255 if values[VALUES + SOLD] else 1
        to = body + TRADE_WORDS
    elif kind == QUOTE:
        out[body], out[body + 1], out[body + 2] = last_id, values[VALUES + BID], values[VALUES + BID_LOTS]
        out[body + 3], out[body + 4] = values[VALUES + ASK], values[VALUES + ASK_LOTS]
        out[body + 5] = at if at >= 0 else 0
        to = body + QUOTE_WORDS
    else:
        asks, previous = values[VALUES + ASKS], values[VALUES + PREVIOUS]
        total = to - body
        if total == 0:  # nothing changed: one record without a side
            out[body], out[body + 1], out[body + 2] = 0, 0, 0
            to += LEVEL_WORDS
            total = LEVEL_WORDS
        elif plan[SIDES] == ASKS and asks and asks < total:  # in an event the bids stand first
            if to + asks > room:
                return 0
            for word in range(asks):
                out[to + word] = out[body + word]
            for word in range(total):
                out[body + word] = out[body + asks + word]
        count = total // LEVEL_WORDS
        last_id = last_id if last_id >= 0 else 0
        first_id = last_id
        if values[VALUES + FIRST] >= 0:
            first_id = values[VALUES + FIRST]
            if first_id > last_id:
                return 0
            if previous >= 0:
                if previous >= first_id:
                    return 0
                first_id = previous + 1
        elif previous >= 0:
            first_id = previous + 1
        if values[VALUES + CHECKSUM] > 0:
            reserved = values[VALUES + CHECKSUM] | HAS_CHECKSUM
    image = plan[stream + IMAGE]
    for word in range(HEADER_WORDS):
        out[start + word] = plan[image + word]
    out[start] = (to - start) * 8 | count << 32
    out[start + FIRST_ID_WORD], out[start + LAST_ID_WORD] = first_id, last_id
    out[start + VENUE_WORD], out[start + RECV_WORD], out[start + RESERVED_WORD] = header_ns, recv_ns, reserved
    return to


def scan(frames: Any, request: Any, places: Any, texts: Any) -> int:
    """Reads frames that lie behind one another; gives how many it recognised. Of `request` and `places`, see steps.py.

    The events go to `out`, as int64 words, and to `ends` goes where each frame's event ends there, in bytes, −1 for a frame
    that is not recognised. After a frame that names no stream it stops, and of a stream that had a frame in no usual form it
    reads none more: what the exact way makes of those may count for what follows.
    """
    count, recv_ns, room = request[FRAME_COUNT], request[RECV_NS], request[OUT_ROOM]
    plan, out, ends, sizes = places[PLAN], places[OUT], places[ENDS], places[SIZES]
    plan[BATCH] += 1
    begin, to, recognised = 0, 0, 0
    stopped = False
    for place in range(count):
        end = begin + sizes[place]
        ends[place] = -1
        stream = 0 if stopped else stream_of(frames, begin, end, plan, texts)
        if stream == 0:
            stopped = True
        elif plan[stream + UNREAD] != plan[BATCH]:
            at = begin + plan[stream + KEY_SIZE]
            done = 0
            body = to + HEADER_WORDS
            if body + TRADE_WORDS <= room:
                forms = plan[stream + FORM_COUNT]
                for tried in range(forms):
                    number = (plan[stream + LAST_FORM] + tried) % forms  # a venue keeps to one of them
                    form = plan[plan[stream + FORMS] + number]
                    done = read_form(frames, at, end, form + 1, plan[form], stream, plan, texts, out, body, room)
                    if done:
                        plan[stream + LAST_FORM] = number
                        done = finish(plan[stream + KIND], stream, to, done, recv_ns, plan, out, room)
                        break
            if done:
                to = done
                ends[place] = to * 8
                recognised += 1
            else:
                plan[stream + UNREAD] = plan[BATCH]
        begin = end
    return recognised


_BYTES, _WORDS = types.CPointer(types.uint8), types.CPointer(types.int64)
COMPILED = {"scan": (scan, types.int64(_BYTES, _WORDS, types.CPointer(_WORDS), _BYTES))}
