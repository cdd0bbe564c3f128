"""Frames of trades that never met the book."""


def usdm(kind: str, price: str, quantity: str, trade_id: int) -> bytes:
    """A frame of USD-M's `@trade`, in the venue's own spelling."""
    return (
        f'{{"stream":"btcusdt@trade","data":{{"e":"trade","E":1700000000000,"T":1700000000000,"s":"BTCUSDT","t":{trade_id},'
        f'"p":"{price}","q":"{quantity}","X":"{kind}","m":false}}}}'
    ).encode()
