"""What all of the venue's protocol is made of: decimals, errors, parameters and signatures (venues.md §2). No I/O, no clock.

Inside the exchange every price, quantity and amount is an integer mantissa at 10^−8 (`UNIT` = 1), because the venue's
dialect writes eight decimals everywhere.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import TypeAlias
from urllib.parse import unquote_plus

JsonObject: TypeAlias = dict[str, object]  # one object of the venue's JSON: field → what becomes its value
Level: TypeAlias = tuple[int, int, int]  # one price level of a book: side (+1 bid, −1 ask), price, quantity

UNIT = 10**8
MANTISSA_MAX = 1 << 62
DECIMAL = re.compile(r"^([0-9]{1,20})(?:\.([0-9]{0,20}))?$")
CLIENT_ORDER_ID = re.compile(r"^[a-zA-Z0-9-_]{1,36}$")
RECV_WINDOW_MS = 5000.0
RECV_WINDOW_MS_MAX = 60_000.0
AHEAD_MS_MAX = 1000  # a timestamp further ahead of the server's clock is refused


class VenueError(Exception):
    """A refusal with the venue's own code and message, which the client gets. `status` is the HTTP status, and the WS-API's.

    `retry_at_ms`: when a limited client may come again. `data`: what half succeeded (cancelReplace)."""

    def __init__(self, code: int, message: str, status: int = 400, retry_at_ms: int = 0, data: JsonObject | None = None):
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.retry_at_ms = retry_at_ms
        self.data = data

    def body(self) -> JsonObject:
        """The JSON object that the client gets: code, message, and `data` if there is any."""
        body: JsonObject = {"code": self.code, "msg": self.message}
        return body if self.data is None else {**body, "data": self.data}


class NotKnownYet(Exception):
    """Raised when an answer is not known yet (a replayed book before its snapshot); ask again when the market has moved on."""


def decimal_text(mantissa: int) -> str:
    """Writes a mantissa at 10^−8 with eight decimals: 6183763000000 → "61837.63000000"."""
    if mantissa < 0:
        return "-" + decimal_text(-mantissa)
    return f"{mantissa // UNIT}.{mantissa % UNIT:08d}"


def towards_zero(numerator: int, denominator: int) -> int:
    """Divides by a positive number and rounds towards zero, so that the two sides of a contract get the same amount."""
    return numerator // denominator if numerator >= 0 else -(-numerator // denominator)


def mantissa(decimal: str) -> int:
    """Reads a decimal of at most eight decimals as a mantissa at 10^−8, the inverse of `decimal_text`. Raises ValueError."""
    whole, _, fraction = decimal.partition(".")
    if len(fraction) > 8:
        if fraction[8:].strip("0"):
            raise ValueError(f"{decimal!r} has more than 8 decimals")
        fraction = fraction[:8]
    scale: int = 10 ** (8 - len(fraction))
    return int(whole + fraction) * scale


def missing_parameter(name: str) -> VenueError:
    """Builds the venue's refusal of a request that lacks a mandatory parameter."""
    return VenueError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def illegal_parameter(name: str, legal: str) -> VenueError:
    """Builds the venue's refusal of a parameter whose text is outside the pattern `legal`."""
    return VenueError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")


class Params:
    """The parameters of one request, each read by type; what cannot be read raises the venue's VenueError."""

    def __init__(self, values: Mapping[str, object]):
        self.values = values

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def text(self, name: str, default: str | None = None) -> str:
        """A parameter as text; without a default it is mandatory."""
        value = self.values.get(name)
        if value is None or value == "":
            if default is None:
                raise missing_parameter(name)
            return default
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, (str, int)):
            return str(value)
        raise illegal_parameter(name, "a plain value")

    def choice(self, name: str, allowed: tuple[str, ...], code: int, message: str, default: str | None = None) -> str:
        """A parameter that must be one of `allowed`; VenueError with `code` and `message` for anything else."""
        value = self.text(name, default)
        if value not in allowed:
            raise VenueError(code, message)
        return value

    def integer(self, name: str, default: int | None = None, low: int = 0, high: int = MANTISSA_MAX) -> int:
        """A parameter that is a whole number from `low` to `high`; without a default it is mandatory."""
        value = self.text(name, None if default is None else str(default))
        if not value.isascii() or not value.isdigit() or len(value) > 19:
            raise illegal_parameter(name, "^[0-9]{1,20}$")
        number = int(value)
        if not low <= number <= high:
            raise VenueError(-1130, f"Data sent for parameter '{name}' is not valid.")
        return number

    def moment(self, name: str) -> int | None:
        """A parameter that is a time, given in ms or µs, as ms; None when it was not sent."""
        if name not in self:
            return None
        stamp = self.integer(name)
        return stamp // 1000 if stamp >= 10**14 else stamp

    def flag(self, name: str, default: str = "false") -> bool:
        """A parameter that is true or false; the default when it was not sent."""
        wrong = f"Illegal characters found in parameter '{name}'; legal range is 'true|false'."
        return self.choice(name, ("true", "false", "TRUE", "FALSE"), -1100, wrong, default).lower() == "true"

    def decimal(self, name: str) -> int:
        """A mandatory parameter that is a decimal, as a mantissa at 10^−8."""
        value = self.text(name)
        match = DECIMAL.match(value)
        if not match:
            raise illegal_parameter(name, r"^([0-9]{1,20})(\.[0-9]{1,20})?$")
        if len((match[2] or "").rstrip("0")) > 8:
            raise VenueError(-1111, f"Parameter '{name}' has too much precision.")
        number = mantissa(value)
        if number > MANTISSA_MAX:
            raise VenueError(-1108, f"Parameter '{name}' was empty or too large.")
        return number

    def positive(self, name: str) -> int:
        """A mandatory decimal above zero, as a mantissa at 10^−8."""
        number = self.decimal(name)
        if not number:
            raise VenueError(-1013, f"Invalid {name}.")
        return number

    def client_id(self, name: str) -> str:
        """A parameter that is a client order id; "" when it was not sent."""
        value = self.text(name, "")
        if value and not CLIENT_ORDER_ID.match(value):
            raise illegal_parameter(name, CLIENT_ORDER_ID.pattern)
        return value


def parse_form(query: str, body: str) -> dict[str, str]:
    """Parses a query string and a form body into one dict; a name in both has the query's value (venues.md §2.4)."""
    values: dict[str, str] = {}
    for part in (query, body):
        seen = set()
        for pair in part.split("&"):
            if not pair:
                continue
            name, _, value = pair.partition("=")
            name = unquote_plus(name)
            if name in seen:
                raise VenueError(-1101, f"Duplicate values for a parameter detected: '{name}'.")
            seen.add(name)
            values.setdefault(name, unquote_plus(value))
    return values


def rest_payload(query: str, body: str) -> str:
    """The text that a REST signature covers: query and body directly after one another, without the signature itself."""
    return _unsigned(query) + _unsigned(body)


def _unsigned(part: str) -> str:
    return "&".join(pair for pair in part.split("&") if not pair.startswith("signature="))


def ws_payload(values: Mapping[str, object]) -> str:
    """The text that a WS-API signature covers: all parameters sorted by name, raw UTF-8, booleans in lower case."""
    params = Params(values)
    return "&".join(f"{name}={params.text(name, '')}" for name in sorted(values) if name != "signature")


def sign(secret: str, payload: str) -> str:
    """The HMAC-SHA256 of a payload under the account's secret, as hex digits."""
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()


def check_receive_window(params: Params, stamp: int, now_ms: float) -> None:
    """Checks a request's time: `timestamp < now + 1000` and `now − timestamp <= recvWindow`. Raises VenueError −1021."""
    window_text = params.text("recvWindow", str(RECV_WINDOW_MS))
    if not re.fullmatch(r"[0-9]{1,10}(\.[0-9]{1,3})?", window_text):
        raise illegal_parameter("recvWindow", r"^[0-9]{1,5}(\.[0-9]{1,3})?$")
    window = float(window_text)
    if window > RECV_WINDOW_MS_MAX:
        raise VenueError(-1131, "recvWindow must be less than 60000.")
    stamp_ms = stamp / 1000 if stamp >= 10**14 else float(stamp)  # microseconds are accepted too
    if stamp_ms >= now_ms + AHEAD_MS_MAX:
        raise VenueError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if now_ms - stamp_ms > window:
        raise VenueError(-1021, "Timestamp for this request is outside of the recvWindow.")
