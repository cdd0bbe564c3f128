"""The usual forms of OKX's frames, for the compiled scanner (scanning/forms.py)."""

from tickmesh.bus.schema import Kind
from tickmesh.nodes.venues.parsing.writer import Routes
from tickmesh.nodes.venues.scanning.forms import StreamForms, UsualForms

# Behind the instrument's name: of today, and of the years before.
_TRADED = b'},"data":[{"instId":"<symbol>","tradeId":"<id>","px":"<price>","sz":"<quantity>","side":"<side>","ts":"<at_ms>"'
_BOOK = b'},"action":"update","data":[{"asks":<asks4>,"bids":<bids4>,"ts":"<at_ms>","checksum":<checksum>'
_BEST = b'[["<%s>","<%s_lots>","<digits>","<digits>"]]'
_FORMS = {
    "trades": (
        Kind.trade,
        (
            _TRADED + b',"count":"<count>","source":"0","seqId":<number>}]}',
            _TRADED + b',"count":"<count>","source":"0"}]}',
            _TRADED + b',"count":"<count>"}]}',
            _TRADED + b"}]}",
        ),
    ),
    "books": (
        Kind.depth,
        (
            _BOOK + b',"seqId":<id>,"prevSeqId":<previous>}]}',
            _BOOK + b',"prevSeqId":<previous>,"seqId":<id>}]}',
            _BOOK + b"}]}",
        ),
    ),
    "bbo-tbt": (
        Kind.quote,
        (
            b'},"data":[{"asks":' + _BEST % (b"ask", b"ask") + b',"bids":' + _BEST % (b"bid", b"bid")
            + b',"ts":"<at_ms>","seqId":<id>}]}',
        ),
    ),
    "tickers": (Kind.quote, ()),
}  # fmt: skip


def forms(known: Routes) -> UsualForms:
    """The usual forms of the frames of these instruments."""
    return UsualForms(
        b"}",
        [
            StreamForms(
                b'{"arg":{"channel":"%s","instId":"%s"' % (channel.encode(), symbol.encode()), kind, out.instrument, texts
            )
            for symbol, out in known.items()
            for channel, (kind, texts) in _FORMS.items()
        ],
    )
