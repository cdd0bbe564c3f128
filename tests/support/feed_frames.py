"""Frames and answers of Binance, made by hand."""

import json

INFO = {
    "symbols": [
        {
            "symbol": "BTCUSDT",
            "filters": [
                {"filterType": "PRICE_FILTER", "tickSize": "0.01000000"},
                {"filterType": "LOT_SIZE", "minQty": "0.00001000", "stepSize": "0.00001000"},
                {"filterType": "NOTIONAL", "minNotional": "5.00000000"},
            ],
        }
    ]
}


def trade(number: int) -> str:
    """A frame of one trade."""
    data = {"e": "trade", "E": 1723161255343, "s": "BTCUSDT", "t": number, "p": "61837.63000000", "q": "0.02000000",
            "T": 1723161255342, "m": True, "M": True}  # fmt: skip
    return json.dumps({"stream": "btcusdt@trade", "data": data}, separators=(",", ":"))


def depth(first: int, last: int) -> str:
    """A frame of one change of the book."""
    data = {"e": "depthUpdate", "E": 1723161255208, "s": "BTCUSDT", "U": first, "u": last,
            "b": [["61837.63000000", "1.00000000"]], "a": []}  # fmt: skip
    return json.dumps({"stream": "btcusdt@depth@100ms", "data": data}, separators=(",", ":"))
