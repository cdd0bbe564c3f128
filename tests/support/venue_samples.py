"""A sample of every message of every venue, and the events that the venue's adapter makes of one."""

from tickmesh.bus.settings import Instrument
from tickmesh.bus.wire import decode as event_of
from tickmesh.nodes.venues.table import adapter_of

NAMES = ("binance", "binance_usdm", "coinbase", "kraken", "kraken_v1", "okx")

SAMPLES = {
    "binance": [
        b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":5,"p":"61837.63000000",'
        b'"q":"0.02000000","T":1723161255342,"m":true,"M":true}}',
        b'{"stream":"btcusdt@bookTicker","data":{"u":50093239212,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000",'
        b'"a":"61837.64000000","A":"1.54698000"}}',
        b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1616176861895,"s":"BTCUSDT","a":640283266,'
        b'"p":"58942.01000000","q":"0.00035600","f":716849523,"l":716849525,"T":1616176861893,"m":false,"M":true}}',
        b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":7,"u":9,'
        b'"b":[["1.00000000","2.00000000"]],"a":[]}}',
    ],
    "binance_usdm": [
        b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161256322,"T":1723161256321,"s":"BTCUSDT","t":5266583935,'
        b'"p":"61800.30","q":"0.006","X":"MARKET","m":false}}',
        b'{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":5123107839020,"s":"BTCUSDT","b":"61800.20",'
        b'"B":"2.507","a":"61800.30","A":"2.510","T":1723161256312,"E":1723161256313}}',
        b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161256299,"T":1723161256298,"s":"BTCUSDT",'
        b'"U":120,"u":130,"pu":110,"b":[["58710.20","0.014"]],"a":[["61496.50","0.000"]]}}',
    ],
    "coinbase": [
        b'{"type":"match","trade_id":881613,"maker_order_id":"27fff20b","taker_order_id":"1da6ce16","side":"sell",'
        b'"size":"0.04","price":"14.7775","product_id":"BTC-USD","sequence":333938798,"time":"2021-04-17T16:43:30.244075Z"}',
        b'{"type":"ticker","sequence":333938798,"product_id":"BTC-USD","price":"14.7775","best_bid":"14.7550",'
        b'"best_bid_size":"1.5","best_ask":"14.8060","best_ask_size":"2","side":"buy","time":"2021-04-17T16:43:30.244075Z"}',
        b'{"type":"l2update","product_id":"BTC-USD","changes":[["buy","14.75","1.20"],["sell","14.81","0.00"]],'
        b'"time":"2021-04-17T16:43:30.244075Z"}',
        b'{"type":"snapshot","product_id":"BTC-USD","asks":[["14.8024","12.77"]],"bids":[["14.7","1"]]}',
    ],
    "kraken": [
        b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"sell","price":45285.2,"qty":0.00100000,'
        b'"ord_type":"market","trade_id":4665846,"timestamp":"2023-09-25T07:49:37.708706Z"},{"symbol":"BTC/USD",'
        b'"side":"buy","price":45285.3,"qty":1e-3,"ord_type":"limit","trade_id":4665847,'
        b'"timestamp":"2023-09-25T07:49:37.708707Z"}]}',
        b'{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":45283.5,"bid_qty":0.1,"ask":45285.2,'
        b'"ask_qty":0.00100000,"last":45285.2,"volume":1.5,"vwap":45000.0,"low":1,"high":2,"change":0,"change_pct":0}]}',
        b'{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":45283.5,"qty":0.10000000}],'
        b'"asks":[],"checksum":2439117997,"timestamp":"2023-10-06T17:35:55.440295Z"}]}',
        b'{"channel":"book","type":"snapshot","data":[{"symbol":"BTC/USD","bids":[],"asks":[],"checksum":0}]}',
    ],
    "kraken_v1": [
        b'[321,[["57126.7","0.02063928","1616333924.737428","b","m",""]],"trade","BTC/USD"]',
        b'[320,{"a":[["38800.0","0.02203518","1622766170.577187"]]},{"b":[["38800.1","0.03017320","1622766170.577304"]],'
        b'"c":"2479000840"},"book-25","BTC/USD"]',
        b'[341,["31760.0","31760.1","1654031976.197239","0.02167307","6.46761464"],"spread","BTC/USD"]',
        b'[320,{"as":[],"bs":[]},"book-25","BTC/USD"]',
    ],
    "okx": [
        b'{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","tradeId":"314161276",'
        b'"px":"43474.1","sz":"0.00373695","side":"buy","ts":"1646311839593","count":"3"}]}',
        b'{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{"asks":[["43736.2","0.1358","0","2"]],'
        b'"bids":[["43675.6","0.05","0","1"]],"ts":"1646314295200","checksum":-796530682,"prevSeqId":10,"seqId":15}]}',
        b'{"arg":{"channel":"bbo-tbt","instId":"BTC-USDT"},"data":[{"asks":[["31774.7","0.14368878","0","3"]],"bids":[],'
        b'"ts":"1654032991947","seqId":77}]}',
    ],
}  # fmt: skip
SYMBOLS = {"binance": "BTCUSDT", "binance_usdm": "BTCUSDT", "coinbase": "BTC-USD", "kraken": "BTC/USD", "kraken_v1": "BTC/USD",
           "okx": "BTC-USDT"}  # fmt: skip


def instrument(name):
    """The instrument of a venue's samples."""
    exponent = -1 if name.startswith("kraken") else -8
    return Instrument(symbol=SYMBOLS[name], venue=name, price_exponent=exponent)


def decode_frame(name, frame, recv_ns=7_000):
    """Decodes a frame with a venue's adapter; gives the events."""
    adapter = adapter_of(name)
    return [event_of(event) for event in adapter.decode(frame, recv_ns, adapter.routes([instrument(name)]))]
