"""What a server says instead of what it was asked for: status, first line, how long to wait, what to do. Pure.

Retry-After: RFC 9110, 10.2.3, seconds or a date. Close codes 1008 (policy) and 1013 (try again later): RFC 6455, 7.4.
"""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import NamedTuple

HEARD_BYTES = 16 << 10  # of an answer, to know its status, headers and first words
WORDS = 160  # characters of a body that are kept
WAIT_S_MAX = 7 * 86_400.0  # the longest ban that a venue is known to state is of three days; more is an error of somebody
LIMITED_WAIT_S = 5.0  # where a refusal for too many requests does not say how long to wait
BANNED = 418  # for an address that went on after 429
LIMITED = (BANNED, 429)
OBEYED = (*LIMITED, 503)  # statuses whose Retry-After is obeyed
ASKED_CLOSES = (1008, 1013)

_STATUS_LINE = re.compile(rb"HTTP/\d(?:\.\d)? +(\d{3})(?: +([^\r\n]*))?\r?\n")
_TAG = re.compile(r"<(?:head|style|script|title)\b.*?</(?:head|style|script)>|<[^>]*>", re.DOTALL | re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.DOTALL | re.IGNORECASE)
_UNTIL_MS = re.compile(r"\buntil\D{0,10}(\d{13})\b", re.IGNORECASE)  # Binance: "IP banned until 1499827319559"
_WAIT = re.compile(
    r"\b(?:retry|again|wait|reconnect)\D{0,24}?(\d{1,9}(?:\.\d{1,6})?) ?"
    r"(ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hours?)?\b",
    re.IGNORECASE,
)
_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_ADVICE = {
    400: "the path or a name in it is not this server's: look at `ws` and `rest` in [venues.…] of mesh.toml, and at symbols",
    401: "it wants a key that this mesh has not, or another one",
    403: "a firewall stands before it: see whether this address may use the venue, or name another one in [venues.…]",
    404: "it has no such path: look at `ws` and `rest` in [venues.…] of mesh.toml",
    407: "a proxy stands between, and wants a name and a password",
    418: "this address is banned for a time; whoever goes on is banned for longer",
    429: "too many requests or connections from this address: fewer lines, instruments or programs beside this mesh help",
    451: "it does not serve this place, by law: record it from elsewhere, or another venue",
    503: "the venue is unwell, or closed for maintenance: look at its status page",
}
_TRIED = "it is tried again, ever more calmly"


class Refusal(NamedTuple):
    """An answer of HTTP that is no success. `words`: the first line of its body; `wait_s`: for how long it wants no more."""

    status: int
    phrase: str
    words: str
    wait_s: float | None = None

    @property
    def sentence(self) -> str:
        """All of it for a person, without its subject, the server."""
        said = f': "{self.words}"' if self.words else ""
        wait = f"; it asks to wait {self.wait_s:g} s" if self.wait_s else ""
        return f"it answers HTTP {self.status} {self.phrase}".rstrip() + f"{said}{wait}; {advice(self.status)}"


def advice(status: int) -> str:
    """What a person can do about an answer with this status."""
    if 200 <= status < 300:
        return "that is a web page, not the venue: look at the address in [venues.…] of mesh.toml"
    if 300 <= status < 400:
        return "it sends elsewhere: name that address in [venues.…] of mesh.toml"
    return _ADVICE.get(status, "the venue is unwell: " + _TRIED if status >= 500 else _TRIED)


def refusal(status: int, phrase: str, headers: Mapping[str, str], body: bytes, now_s: float) -> Refusal:
    """Reads an answer. `headers`: names in lower case; `now_s`: the wall clock, Unix seconds."""
    phrase = phrase or _PHRASES.get(status, "")
    words = first_words(body)
    if 300 <= status < 400 and "location" in headers:
        words = headers["location"][:WORDS]
    wait_s = None
    if status in OBEYED:
        wait_s = _retry_after(headers.get("retry-after", ""), now_s)
        if wait_s is None and (until := _UNTIL_MS.search(body[:HEARD_BYTES].decode("utf-8", "replace"))):
            wait_s = int(until[1]) / 1000 - now_s
        if wait_s is None and status in LIMITED:
            wait_s = LIMITED_WAIT_S
    return Refusal(status, phrase[:WORDS], words, None if wait_s is None else min(max(wait_s, 0.0), WAIT_S_MAX))


def read_http(raw: bytes, now_s: float) -> Refusal | None:
    """Reads the beginning of an answer as it came, however wrong its form; None where it is no HTTP at all.

    Anything goes that has a status: HTTP/1.0, no reason phrase, no length, a body that is cut off.
    """
    line = _STATUS_LINE.match(raw)
    if line is None:
        return None
    head, _, body = raw[line.end() - 2 :].partition(b"\r\n\r\n")  # without any header the two ends of line are one
    headers: dict[str, str] = {}
    for row in head.decode("iso-8859-1").split("\r\n"):
        name, _, value = row.partition(":")
        headers.setdefault(name.strip().lower(), value.strip())
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = body.partition(b"\r\n")[2].partition(b"\r\n")[0]
    return refusal(int(line[1]), (line[2] or b"").decode("iso-8859-1").strip(), headers, body, now_s)


def is_refused(raw: bytes) -> bool:
    """Whether the beginning of an answer to a handshake has all its headers, and is not the one that was hoped for."""
    line = _STATUS_LINE.match(raw)
    return line is not None and line[1] != b"101" and b"\r\n\r\n" in raw


def is_ban(status: int, words: str) -> bool:
    """Whether a refusal is of the address, not of what was asked. `status`: of HTTP, or a close code."""
    return status == BANNED or "banned" in words.casefold()


def first_words(body: bytes) -> str:
    """The first line of a body that says anything; of a web page its title, or its first text."""
    text = body[:HEARD_BYTES].decode("utf-8", "replace")
    if text.count("�") > len(text) // 8:
        return f"{len(body)} bytes that are no text"
    if "<" in text[:64]:
        title = _TITLE.search(text)
        text = title[1] if title and title[1].strip() else _TAG.sub("\n", text)
    lines = (" ".join("".join(c if c.isprintable() else " " for c in line).split()) for line in text.splitlines())
    return next((line for line in lines if line), "")[:WORDS]


def closed_wait_s(code: int, reason: str, now_s: float) -> float | None:
    """For how long a server that closes with this code and reason wants no new connection; None where it names no time."""
    if code not in ASKED_CLOSES:
        return None
    if until := _UNTIL_MS.search(reason):
        return min(max(int(until[1]) / 1000 - now_s, 0.0), WAIT_S_MAX)
    if (found := _WAIT.search(reason)) is None:
        return None
    unit = (found[2] or "s").lower()
    scale = 0.001 if unit.startswith(("ms", "milli")) else {"s": 1.0, "m": 60.0, "h": 3600.0}[unit[0]]
    return min(float(found[1]) * scale, WAIT_S_MAX)


def _retry_after(text: str, now_s: float) -> float | None:
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        return parsedate_to_datetime(text).timestamp() - now_s
    except (ValueError, TypeError, OverflowError):
        return None
