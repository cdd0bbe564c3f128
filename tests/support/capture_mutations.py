"""Damage that recorders, disks and people do to a capture: hypothesis strategies over the lines of one."""

import gzip
import json
import re
import zlib
from collections.abc import Callable

from hypothesis import strategies as st

T0_NS = 1_723_161_254_000_000_000
ID = re.compile(rb'"(t|u|U)":([0-9]+)')
VALUE = re.compile(rb':("[^"]*"|[0-9]+|true|false)')
STREAM = re.compile(rb'"stream":"([^"@]*)@([^"]*)"')
ODD = (
    b"0", b"-1", b"1e23", b"1e5", b"0.5", b"9223372036854775807", b"9223372036854775808", b"1" * 40, b"1" * 5000, b"null",
    b"true", b'""', b'"0"', b'"-1"', b'"1e5"', b'"NaN"', b'"1_000"', b'" 1"', b'"0.000000001"', b'"1.10000000000"',
    b'"92233720368.54775807"', b'"99999999999999999999"', '"١٢"'.encode(), b'"1.2.3"', b'"."', b"NaN", b"[]", b"{}",
    b'"\\ud800"', b'"\xff"', b'"\\u0000"',
)  # fmt: skip
STAMPS = (
    b"", b"0", b"1", b"-5", b"1723161254", b"1723161254000", b"1723161254000000", b"9999999999999999999", b"0" * 19,
    b"1723161254000000000000", "١٧٢٣١٦١٢٥٤٠٠٠٠٠٠".encode(), b"1723161254.5", b"2000000000000000000", b"x",
)  # fmt: skip
STREAMS = (
    b"aggTrade", b"depth", b"depth@0ms", b"depth@500ms", b"depth20@100ms", b"kline_1m", b"trade", b"bookTicker",
    b"markPrice@1s", b"", b"depth@100ms",
)  # fmt: skip
SYMBOLS = (
    b"bbbusdt",
    b"btcusd_perp",
    b"BTCUSDT",
    b"",
    b"a" * 40,
    b"../../etc",
    "名usdt".encode(),
    b"ethusdt",
    b"x y",
    b"btcusdt_240927",
)
FOREIGN = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161256322,"T":1723161256322,"s":"BTCUSDT","t":5266583935,"p":"61800.30",'
    b'"q":"0.006","X":"MARKET","m":false}}',
    b'{"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate","E":1,"T":1,"s":"BTCUSDT","U":10,"u":12,"pu":9,"b":[],"a":[]}}',
    b'{"stream":"btcusd_perp@bookTicker","data":{"u":7,"e":"bookTicker","s":"BTCUSD_PERP","ps":"BTCUSD","b":"1.0","B":"35","a":"2.0",'
    b'"A":"5","T":1723161257465,"E":1723161257476}}',
    b'{"channel":"l2Book","data":{"coin":"BTC","levels":[[],[]]}}',
    b'[0,[["5541.30000","2.50700000"]],"book-100","XBT/USD"]',
    b'{"result":null,"id":1}',
    b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}',
    b'{"stream":"aaausdt@trade","data":null}',
    b'{"stream":"aaausdt@trade"}',
    b'{"stream":5,"data":{}}',
    b'{"stream":"aaausdt@markPrice@1s","data":{"e":"markPriceUpdate","s":"AAAUSDT","p":"1.0"}}',
    b'{"lastUpdateId":100000000000000,"bids":[],"asks":[]}',
    b'{"lastUpdateId":1,"bids":[["1.0","1"]],"asks":[["2.0","1"]]}',
    b'{"lastUpdateId":99999999999999999999,"bids":[],"asks":[]}',
    b"{}",
    b"",
    b"\x00" * 50,
)


def small() -> list[bytes]:
    """Builds a small capture: two instruments, each with a snapshot, changes that chain, quotes and trades."""
    lines: list[bytes] = []

    def add(message: dict) -> None:
        lines.append(b"%d " % (T0_NS + len(lines) * 10_000_000) + json.dumps(message, separators=(",", ":")).encode())

    def on(symbol: str, channel: str, data: dict) -> None:
        add({"stream": f"{symbol.lower()}@{channel}", "data": data})

    ids = {"AAAUSDT": 50_000_000_000, "BBBUSDT": 134_000_000}
    for step in range(40):
        for number, (symbol, base) in enumerate(ids.items()):
            at, price = base + 3 * step, 100 + number + step % 7 / 4
            if step == 3 + 10 * number:
                add({"lastUpdateId": at - 1, "bids": [["99.00000000", "5.00000000"]], "asks": [["120.00000000", "5.00000000"]]})
            levels = {"b": [[f"{price:.8f}", f"{step % 3:.8f}"]], "a": [[f"{price + 1:.8f}", "2.00000000"]]}
            event = {"e": "depthUpdate", "E": 1723161255000 + step, "s": symbol}
            on(symbol, "depth@100ms", {**event, "U": at, "u": at + 2, **levels})
            best = {"b": f"{price:.8f}", "B": "1.00000000", "a": f"{price + 1:.8f}", "A": "2.00000000"}
            on(symbol, "bookTicker", {"u": at + 1, "s": symbol, **best})
            if step % 2 == 0:
                fill = {
                    "t": 700 + step // 2,
                    "p": f"{price:.8f}",
                    "q": "0.25000000",
                    "T": 1723161255000 + step,
                    "m": step % 4 == 0,
                }
                on(symbol, "trade", {"e": "trade", "E": 1723161255000 + step, "s": symbol, **fill, "M": True})
    return lines


Lines = list[bytes]


class Damaged:
    """A damaged capture. `data`: bytes of a file; `lines`: those that are whole in it; `done`: what was done."""

    def __init__(self, data: bytes, lines: Lines, done: list[str]):
        self.data, self.lines, self.done = data, lines, done

    def __repr__(self) -> str:
        return f"<{len(self.lines)} lines: {', '.join(self.done)}>"


Draw = Callable[[st.SearchStrategy], object]


def _at(draw: Draw, lines: Lines) -> int:
    return draw(st.integers(0, max(len(lines) - 1, 0)))


def _replace(draw: Draw, lines: Lines, pattern: re.Pattern, group: int, texts: tuple) -> None:
    at = _at(draw, lines)
    found = list(pattern.finditer(lines[at]))
    if found:
        begin, end = found[draw(st.integers(0, len(found) - 1))].span(group)
        lines[at] = lines[at][:begin] + draw(st.sampled_from(texts)) + lines[at][end:]


def flip(draw: Draw, lines: Lines) -> None:
    """Changes one byte of a line."""
    at = _at(draw, lines)
    if lines[at]:
        byte = draw(st.integers(0, len(lines[at]) - 1))
        changed = bytearray(lines[at])
        changed[byte] = draw(st.integers(0, 255).filter(lambda value: value != 10))
        lines[at] = bytes(changed)


def cut_line(draw: Draw, lines: Lines) -> None:
    """Cuts a line off somewhere."""
    at = _at(draw, lines)
    lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))]


def duplicate(draw: Draw, lines: Lines) -> None:
    """Repeats a block of lines, at once or later."""
    at, count = _at(draw, lines), draw(st.integers(1, 30))
    block = lines[at : at + count]
    to = _at(draw, lines)
    lines[to:to] = block


def move(draw: Draw, lines: Lines) -> None:
    """Moves a block of lines somewhere else: lines out of order."""
    at, count = _at(draw, lines), draw(st.sampled_from((1, 1, 1, 2, 5, 20)))
    block = lines[at : at + count]
    del lines[at : at + count]
    to = min(max(at + draw(st.integers(-25, 25)), 0), len(lines))
    lines[to:to] = block


def drop(draw: Draw, lines: Lines) -> None:
    """Removes a block of lines."""
    at = _at(draw, lines)
    del lines[at : at + draw(st.sampled_from((1, 1, 3, 20)))]


def jump(draw: Draw, lines: Lines) -> None:
    """Moves an id of one line, or all ids from a line on, far higher or lower."""
    at, alone = _at(draw, lines), draw(st.booleans())
    by = draw(st.sampled_from((-1, 1))) * 10 ** draw(st.integers(0, 24))
    fields = draw(st.sampled_from(((b"t",), (b"u",), (b"U",), (b"u", b"U"), (b"t", b"u", b"U"))))

    def moved(match: re.Match) -> bytes:
        return b'"%s":%d' % (match[1], int(match[2]) + by) if match[1] in fields else match[0]

    for number in (at,) if alone else range(at, len(lines)):
        lines[number] = ID.sub(moved, lines[number])


def odd_value(draw: Draw, lines: Lines) -> None:
    """Replaces a value by an odd one."""
    _replace(draw, lines, VALUE, 1, ODD)


def nest(draw: Draw, lines: Lines) -> None:
    """Replaces a value by one nested very deep."""
    depth = draw(st.sampled_from((3, 400, 2000, 50_000)))
    opened, closed = draw(st.sampled_from(((b"[", b"]"), (b'{"a":', b"}"))))
    _replace(draw, lines, VALUE, 1, (opened * depth + b"1" + closed * depth,))


def stamp(draw: Draw, lines: Lines) -> None:
    """Replaces a receive time by none, one in another unit, or one far off."""
    at = _at(draw, lines)
    lines[at] = draw(st.sampled_from(STAMPS)) + b" " + lines[at].partition(b" ")[2]


def rename(draw: Draw, lines: Lines) -> None:
    """Gives a stream another symbol or channel, with or without its payload."""
    at = _at(draw, lines)
    match = STREAM.search(lines[at])
    if match:
        symbol, channel = match[1], match[2]
        if draw(st.booleans()):
            symbol = draw(st.sampled_from(SYMBOLS))
        else:
            channel = draw(st.sampled_from(STREAMS))
        lines[at] = lines[at].replace(match[0], b'"stream":"%s@%s"' % (symbol, channel))
        if draw(st.booleans()):
            lines[at] = lines[at].replace(b'"s":"%s"' % match[1].upper(), b'"s":"%s"' % symbol.upper())


def foreign(draw: Draw, lines: Lines) -> None:
    """Inserts lines of another dialect, answers, and what is no market data."""
    for _ in range(draw(st.sampled_from((1, 1, 5, 60)))):
        text = draw(st.sampled_from(FOREIGN))
        at = _at(draw, lines)
        lines[at:at] = [b"%d %s" % (T0_NS + at, text)]


def respell(draw: Draw, lines: Lines) -> None:
    """Writes the same JSON with spaces, other order of keys, or a carriage return."""
    at = _at(draw, lines)
    head, _, text = lines[at].partition(b" ")
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return
    way = draw(st.sampled_from(("spaces", "sorted", "reversed", "return")))
    if way == "reversed" and isinstance(message, dict):
        message = dict(reversed(message.items()))
    separators = None if way == "spaces" else (",", ":")
    again = json.dumps(message, separators=separators, sort_keys=way == "sorted").encode()
    lines[at] = head + b" " + (text + b"\r" if way == "return" else again)


KINDS = (flip, cut_line, duplicate, move, drop, jump, odd_value, nest, stamp, rename, foreign, respell)


@st.composite
def damaged(draw: Draw, bases: list[list[bytes]], lines_max: int = 160, least: int = 0, most: int = 6) -> Damaged:
    """Draws a piece of one of `bases` with `least` to `most` things done to it."""
    base = draw(st.sampled_from(bases))
    begin = draw(st.integers(0, max(len(base) - lines_max, 0)))
    lines = list(base[begin : begin + lines_max])
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=least, max_size=most))
    for kind in kinds:
        if lines:
            kind(draw, lines)
    data = b"\n".join(lines) + b"\n" if lines else b""
    way = draw(st.sampled_from(("whole", "whole", "no newline", "cut", "gzip", "gzip cut", "members")))
    done = [*(kind.__name__ for kind in kinds), way]
    if way == "no newline":
        data = data[:-1]
    elif way == "cut":
        data = data[: draw(st.integers(0, len(data)))]
    kept = [line for line in data.split(b"\n") if line]
    if way == "gzip" or not data:
        return Damaged(gzip.compress(data, 1), kept, done)
    if way == "members":
        half = len(data) // 2
        return Damaged(gzip.compress(data[:half], 1) + gzip.compress(data[half:], 1), kept, done)
    if way == "gzip cut":
        packed = gzip.compress(data, 1)
        packed = packed[: draw(st.integers(11, len(packed) - 1))]
        whole = zlib.decompressobj(31).decompress(packed).split(b"\n")[:-1]
        return Damaged(packed, [line for line in whole if line], done)
    return Damaged(data, kept, done)
