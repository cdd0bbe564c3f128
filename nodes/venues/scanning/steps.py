"""The numbers that the scanner's plan is written in: where things stand in it, its steps, its values. kernel.py reads them."""

from tickmesh.bus import wire
from tickmesh.bus.layout import header_places
from tickmesh.bus.schema import DTYPES, Kind
from tickmesh.nodes.venues.parsing.times import MILLISECONDS_BELOW

# What a call is given: numbers (`request`), and the addresses of arrays of 64-bit words (`places`).
FRAME_COUNT, RECV_NS, OUT_ROOM, REQUEST_WORDS = range(4)
PLAN, OUT, ENDS, SIZES, PLACE_COUNT = range(5)
# The plan's words: first these, then streams, then what they point at.
MASK, TERMINATOR, HASHED, BATCH, VALUES = range(5)
VALUE_COUNT, POWER_COUNT = 17, 19
POWERS = VALUES + VALUE_COUNT  # of ten
SIDES = POWERS + POWER_COUNT  # BIDS or ASKS, whichever a frame had first
FIXED = SIDES + 1
# Of a stream, from its place on.
(KEY, KEY_SIZE, KIND, FORMS, FORM_COUNT, LAST_FORM, IMAGE, PRICE_DECIMALS, QUANTITY_DECIMALS, FLOOR, UNREAD,
 STREAM_WORDS) = range(12)  # fmt: skip
# Steps of a form: (step, argument, argument). A form is the count of its steps, then they.
LITERAL, WHOLE, TIME, MILLISECONDS, PRICE, QUANTITY, TRUTH, SIDE, DIGITS, SIGNED, LEVELS = range(11)
STEP_WORDS = 3
# Values that steps write; −1 for one that the form has not.
(ID, FIRST, PREVIOUS, COUNT, EVENT_TIME, AT, TRADE_PRICE, TRADE_QUANTITY, SOLD, BID, BID_LOTS, ASK, ASK_LOTS, CHECKSUM, IGNORED,
 BIDS, ASKS) = range(VALUE_COUNT)  # fmt: skip
TRADE, QUOTE, DEPTH = int(Kind.trade), int(Kind.quote), int(Kind.depth)
# An event as words of 8 bytes.
(FIRST_ID_WORD, LAST_ID_WORD, VENUE_WORD, RECV_WORD, RESERVED_WORD, HEADER_WORDS) = (
    int(at) // 8 for at in header_places("first_id", "last_id", "venue_ns", "recv_ns", "reserved")
)
TRADE_WORDS, QUOTE_WORDS, LEVEL_WORDS = (DTYPES[kind].itemsize // 8 for kind in (Kind.trade, Kind.quote, Kind.depth))
HAS_CHECKSUM = wire.HAS_CHECKSUM
DIGITS_MAX = 18  # of a number: it cannot overflow
MICROSECONDS_FROM = MILLISECONDS_BELOW
MILLISECONDS_MAX, MICROSECONDS_MAX = ((1 << 63) - 1) // 1_000_000, ((1 << 63) - 1) // 1_000  # a time's ns fit 64 bits
