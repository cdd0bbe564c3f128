"""Orders and fills against the exchange's ledger: a perfect log is found perfect, and every damage to one."""

import asyncio

import pytest

from tests.support.exchange_clients import limit, venue
from tickmesh.tools.judge import account, exchange_ledger
from tickmesh.tools.judge.findings import Findings

LOG = "00c0ffee00c0ffee"
BTC, ETH = "binance.BTCUSDT", "binance.ETHUSDT"
TOML = '[[instruments]]\nsymbol = "BTCUSDT"\n[[instruments]]\nsymbol = "ETHUSDT"\n[exchange]\nlines = 0\n'


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """The ledger of an account that bought on two symbols, left an order working, cancelled one, and traded by hand besides."""
    folder = tmp_path_factory.mktemp("account")

    async def scene():
        async with venue(folder, TOML) as (rest, _, _):
            for number, (symbol, side) in enumerate((("BTCUSDT", "BUY"), ("ETHUSDT", "SELL"), ("ETHUSDT", "BUY"))):
                order = {"symbol": symbol, "side": side, "type": "MARKET", "quantity": f"0.0{number + 1}"}
                status, _ = await rest.order(**order, newClientOrderId=f"t{LOG}-{number}-0")
                assert status == 200
            await rest.order(**limit("BUY", "30000"), newClientOrderId=f"t{LOG}-8-0")
            await rest.order(**limit("BUY", "30000"), newClientOrderId=f"t{LOG}-9-0")
            await rest.order("DELETE", symbol="BTCUSDT", origClientOrderId=f"t{LOG}-9-0")
            await rest.order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.5", newClientOrderId="by-hand")
            await rest.order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.5", newClientOrderId=f"t{'f' * 16}-1-0")

    asyncio.run(scene())
    contents = exchange_ledger.read_contents(folder / "data/sim/exchange", Findings())
    contents.last_ms += account.ASKED_MS + 1000  # a good while after
    return contents


def perfect(ledger) -> account.StoredAccount:
    """What the log of this account's executor and session has."""
    stored = account.StoredAccount()
    statuses = {"NEW": 2, "PARTIALLY_FILLED": 3, "FILLED": 4, "CANCELED": 6}
    for event in (one for many in ledger.orders.values() for one in many if LOG in one.client_order_id):
        key = f"binance.{event.symbol}", event.client_order_id
        stored.intents.add(key)
        stored.status[key] = statuses[event.status]
        if event.what == "TRADE":
            stored.fills[*key, event.trade_id] = account.FillValues(
                event.side, event.maker, event.order_id, event.price, event.quantity, event.fee, event.fee_asset
            )
    stored.balances = {asset: tuple(events[-1][1:]) for asset, events in ledger.balances.items()}
    return stored


def test_a_perfect_account_is_found_perfect(ledger):
    findings = Findings()
    by_instrument = account.compare(ledger, perfect(ledger), findings)
    assert findings.ok, findings.sentences
    assert findings.counts["balances_checked"] == len(ledger.balances) >= 3
    assert findings.counts["orders_checked"] == 5 and findings.counts["orders_of_others"] == 2
    assert {subject: (one["position"], one["position_by_ledger"]) for subject, one in by_instrument.items()} == {
        BTC: (0.01, 0.01), ETH: (pytest.approx(0.01), pytest.approx(0.01)),
    }  # fmt: skip
    assert findings.counts["fills_checked"] == sum(one["fills"] for one in by_instrument.values()) >= 3


@pytest.mark.parametrize(
    ("damage", "faults"),
    [
        ("a fill is missing", {"fill_lost", "position"}), ("a fill is there twice", {"fill_doubled"}),
        ("a fill never was", {"fill_invented", "position"}), ("a fill has another fee", {"fill_different"}),
        ("a fill is another symbol's", {"fill_lost", "fill_invented", "position"}),
        ("an order has no intent", {"order_lost"}), ("an order that works is over", {"order_orphaned"}),
        ("an order was placed twice", {"order_doubled"}), ("a balance is another one", {"balance"}),
        ("a balance is missing", {"balance"}),
    ],
)  # fmt: skip
def test_every_damage_is_found(ledger, damage, faults):
    stored, findings = perfect(ledger), Findings()
    key = min(stored.fills)
    working = (BTC, f"t{LOG}-8-0")
    twice = None
    if damage == "a fill is missing":
        del stored.fills[key]
    elif damage == "a fill is there twice":
        stored.copies.append(key)
    elif damage == "a fill never was":
        stored.fills[*key[:2], key[2] + 10**9] = stored.fills[key]
    elif damage == "a fill has another fee":
        stored.fills[key] = stored.fills[key]._replace(fee=1)
    elif damage == "a fill is another symbol's":
        stored.fills[ETH, *key[1:]] = stored.fills.pop(key)
    elif damage == "an order has no intent":
        stored.intents.remove(working)
    elif damage == "an order that works is over":
        stored.status[working] = 8
    elif damage == "a balance is another one":
        stored.balances["USDT"] = stored.balances["USDT"][0] + 1, stored.balances["USDT"][1]
    elif damage == "a balance is missing":
        del stored.balances["BTC"]
    else:
        twice = next(one for one in ledger.orders["BTCUSDT"] if one.what == "NEW" and LOG in one.client_order_id)
        ledger.orders["BTCUSDT"].insert(0, twice)
    account.compare(ledger, stored, findings)
    if twice is not None:
        ledger.orders["BTCUSDT"].remove(twice)
    assert set(findings.faults) == faults, findings.sentences


def test_a_balance_may_be_one_that_is_on_its_way(ledger):
    """Of an account that trades to the end: the newest balance that was due, or any later one; not an older one."""
    held = [event for event in ledger.balances["USDT"]]
    assert len({event[1:] for event in held}) > 2
    begun_ms = held[-1].time_ms + account.ASKED_MS  # the last one may be on its way
    due = [event for event in held if event.time_ms < held[-1].time_ms][-1]
    for event, faults in ((held[-1], set()), (due, set()), (held[0], {"balance"})):
        stored, findings = perfect(ledger), Findings()
        stored.balances["USDT"] = tuple(event[1:])
        account.compare(ledger, stored, findings, begun_ms)
        assert {name for name in findings.faults if name == "balance"} == faults


def test_what_has_just_happened_may_be_on_its_way(ledger):
    stored, findings = perfect(ledger), Findings()
    for key in tuple(stored.fills):
        del stored.fills[key]
    by_instrument = account.compare(ledger, stored, findings, ledger.last_ms - account.ASKED_MS - 1000)
    assert findings.ok and findings.counts["fills_on_their_way"] == findings.counts["fills_checked"]
    assert all(one["position"] == one["position_by_ledger"] == 0 for one in by_instrument.values())


def test_what_an_exchange_wrote_and_never_sent_is_no_trade():
    contents = exchange_ledger.LedgerContents()
    text = (
        '{"e":"executionReport","s":"BTCUSDT","c":"a","C":"","S":"BUY","x":"TRADE","X":"FILLED","i":1,"t":%d,"m":false,'
        '"L":"1.5","l":"0.00000002","n":"0","N":null}'
    )
    rows = [
        ["head", 1, 2, "synthetic", {}, 0], ["start", 1, "BTCUSDT", 0, 0, 0], ["event", 2, text % 7], ["event", 3, text % 8],
        ["start", 4, "BTCUSDT", 0, 7, 0], ["start", 5, "BTCUSDT", 0, 0, 1], ["event", 6, text % 3],
        ["start", 7, "BTCUSDT", 0, 3, 1],
    ]  # fmt: skip
    for number, (kind, time_ms, *values) in enumerate(rows, 1):
        contents.take([number, kind, time_ms, *values])
    assert [one.trade_id for one in contents.orders["BTCUSDT"]] == [7, 3], "ids that began anew void nothing of before"
    assert (contents.orders["BTCUSDT"][0].price, contents.orders["BTCUSDT"][0].quantity) == (150_000_000, 2)
