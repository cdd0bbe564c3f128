"""Lines of a capture that cannot be served."""

import json

from tests.support.replay_lines import FEW, SNAPSHOT, T0, depth, line, ticker, trade

SECOND = 10**9


ODD = {
    "id beyond 64 bits": line(ticker(10**23, 100, 1, 101, 1)),
    "negative id": line(trade(-1, 100, 1, True)),
    "id of another type": line({"stream": "btcusdt@trade", "data": {**trade(1, 1, 1, True)["data"], "t": "1"}}),
    "price beyond 64 bits": line({"stream": "btcusdt@trade", "data": {**trade(1, 1, 1, True)["data"], "p": "9" * 20}}),
    "price in other digits": line({"stream": "btcusdt@trade", "data": {**trade(1, 1, 1, True)["data"], "p": "١.0"}}),
    "exponent": line({"stream": "btcusdt@trade", "data": {**trade(1, 1, 1, True)["data"], "q": "1e5"}}),
    "nothing in it": line({"stream": "btcusdt@trade", "data": None}),
    "nested": f'{T0} {{"stream":"btcusdt@trade","data":{"[" * 1500}{"]" * 1500}}}',
    "nested beside": f'{T0} {{"x":{"[" * 1500}{"]" * 1500},"stream":"btcusdt@trade","data":1}}',
    "no text": f"{T0} " + '{"stream":"btcusdt@trade\udcff","data":1}',
    "ten digits": f"{T0 // SECOND} {json.dumps(FEW[1])}",
    "other digits": "١" * 19 + f" {json.dumps(FEW[1])}",
    "another symbol": line({"stream": "ethusdt@trade", "data": trade(1, 1, 1, True)["data"]}),
    "futures": line({"stream": "btcusdt@depth", "data": {**depth(1, 2)["data"], "pu": 0, "ps": "BTCUSD"}}),
    "snapshot of another shape": line({"lastUpdateId": 5, "bids": {"1": "2"}, "asks": []}),
    "snapshot beyond 64 bits": line({**SNAPSHOT, "lastUpdateId": 1 << 64}),
    "no JSON": f"{T0} {{",
    "empty": "",
}
