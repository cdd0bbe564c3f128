"""What all sections of `mesh.toml` are made of: their base, and the kinds of values that several of them have."""

from typing import Annotated

import msgspec
from msgspec import Meta

from tickmesh.bus.names import MODEL_NAME_BYTES, STRATEGY_BYTES

Share = Annotated[float, Meta(gt=0, le=1)]
PositiveSeconds = Annotated[float, Meta(gt=0)]
Positive = Annotated[float, Meta(gt=0)]
ZeroOrMore = Annotated[float, Meta(ge=0)]
PositiveInt = Annotated[int, Meta(ge=1)]
LimitOrNone = Annotated[int, Meta(ge=0, description="a whole number, or 0 for no such limit")]
Count = Annotated[int, Meta(ge=0)]
Exponent = Annotated[int, Meta(ge=-18, le=0)]
FeePpm = Annotated[int, Meta(ge=0, le=999_999)]
ByPreset = Annotated[float, Meta(ge=0, description="0 (the preset's) or more")]
LatencyMs = Annotated[float, Meta(ge=0, le=60_000)]
IntervalMs = Annotated[int, Meta(ge=1, le=10_000)]
OrderMs = Annotated[int, Meta(ge=1, le=86_400_000)]
BufferBytes = Annotated[int, Meta(ge=1 << 16)]
MebibyteOrMore = Annotated[int, Meta(ge=1 << 20, description="1 MiB or more")]
SourceName = Annotated[
    str,
    Meta(
        pattern=r"^(?!\.*\Z)[^/]+\Z",
        description="the name of one folder: no '/', and not dots alone",
    ),
]
WebsocketAddress = Annotated[str, Meta(pattern=r"^wss?://[^/]", description="ws:// or wss://, and a host")]
RestAddress = Annotated[str, Meta(pattern=r"^https?://[^/]", description="http:// or https://, and a host")]
Balance = Annotated[str, Meta(pattern=r"^[0-9]{1,12}(\.[0-9]{1,8})?\Z", description="a decimal of at most 8 places")]
_AMOUNT = r"(?=.*[1-9])[0-9]{1,12}(\.[0-9]{1,18})?"
Amount = Annotated[str, Meta(pattern=rf"^{_AMOUNT}\Z", description="a plain decimal above 0 like '0.001'")]
AmountOrNone = Annotated[
    str, Meta(pattern=rf"^({_AMOUNT})?\Z", description="a plain decimal above 0 like '0.001', or '' for none")
]
ModelName = Annotated[
    str,
    Meta(
        pattern=rf"^[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{MODEL_NAME_BYTES - 1}}}\Z",
        description=f"1 to {MODEL_NAME_BYTES} of A–Z a–z 0–9 _ . -, the first a letter, a digit or _",
    ),
]
StrategyName = Annotated[
    str,
    Meta(
        pattern=rf"^(?!account\Z)[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{STRATEGY_BYTES - 1}}}\Z",
        description=f"1 to {STRATEGY_BYTES} of A–Z a–z 0–9 _ . -, the first a letter, a digit or _; not 'account'",
    ),
]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every section."""
