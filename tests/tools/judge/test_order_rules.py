"""The rules of trading against planted faults: a clean history is found clean, and each verdict can fail."""

from decimal import Decimal

import msgpack
import pytest

from tickmesh.tools.judge import account, order_rules, trading
from tickmesh.tools.judge.exchange_ledger import LedgerContents
from tickmesh.tools.judge.findings import Findings
from tickmesh.tools.judge.in_force import Limit, Settings, SettingsInForce
from tickmesh.tools.judge.limit_facts import LimitFacts
from tickmesh.tools.judge.log import Event
from tickmesh.tools.judge.order_events import Asked

LOG = "00c0ffee00c0ffee"
UNIT = 10**8
BTC, ONE, TWO = "binance.BTCUSDT", f"t{LOG}-1-0", f"t{LOG}-2-0"
LIMITS = {
    "account": Limit(position=Decimal("0.05"), worth_in_all=Decimal(2000), open_orders=2),
    "maker": Limit(position=Decimal("0.03"), worth=Decimal(1000), open_orders=1),
}
SUBSCRIBE, OPEN, HELD = "userDataStream.subscribe.signature", "GET /api/v3/openOrders", "GET /api/v3/account"


def report(
    number: int, name: str, what: str, status: str, at_ms: int, side: str = "BUY", lots: str = "0", price: str = "30000"
):
    """An event row of the ledger."""
    text = (
        f'{{"e":"executionReport","s":"BTCUSDT","c":"{name}","C":"","S":"{side}","x":"{what}","X":"{status}","i":{number},"t":7,'
        f'"m":false,"L":"{price if what == "TRADE" else 0}","l":"{lots}","n":"0","N":null,"q":"0.02","p":"{price}"}}'
    )
    return ["event", at_ms, text, "binance"]


def ledger_of(rows, known: bool = True, first_ms: int = 1) -> LedgerContents:
    contents = LedgerContents()
    for number, (kind, time_ms, *values) in enumerate(
        [["head", first_ms, 2, "synthetic", {"asked": []} if known else {}, 0], *rows], 1
    ):
        contents.take([number, kind, time_ms, *values])
    return contents


def fill(seq: int, name: str, at_ms: float, side: int, trade_id: int = 7, lots: int = UNIT // 50) -> Event:
    """A fill in the log, of 0.02."""
    return event("fill", [(name.encode(), side, 0, 11, trade_id, 30_000 * UNIT, lots, 0, b"", 0)], seq, at_ms)


def said(seq: int, at_ms: float, fills: int, **positions: float) -> Event:
    """What the executor says of its strategies' positions."""
    strategies = {name: {"positions": {BTC: {"position": one}}} for name, one in positions.items()}
    return packed("health", seq, at_ms, "executor", fills=fills, strategies=strategies)


def event(kind: str, records, seq: int, at_ms: float, subject: str = BTC, producer: str = "session") -> Event:
    ns = int(at_ms * 1e6)
    return Event(kind, producer, subject, records, 0, 0, 1, seq, seq, 0, 1, 0, 0, ns, ns, ns, ns, 0)


def packed(kind: str, seq: int, at_ms: float, producer: str = "session", **content) -> Event:
    return event(kind, msgpack.packb(content), seq, at_ms, producer, producer)


class History:
    """Two orders of strategy maker, one after the other: bought 0.02, sold 0.02; then a stop, and a kill switch."""

    def __init__(self) -> None:
        self.asked = [
            (1000, 1, SUBSCRIBE, "", 200), (1010, 0, OPEN, "", 200), (1020, 0, HELD, "", 200),
            (2000, 1, "order.place", ONE, 200), (5000, 1, "order.place", TWO, 200),
        ]  # fmt: skip
        self.reports = [
            report(11, ONE, "NEW", "NEW", 2000), report(11, ONE, "TRADE", "FILLED", 3000, lots="0.02"),
            report(12, TWO, "NEW", "NEW", 5000, "SELL"), report(12, TWO, "TRADE", "FILLED", 6000, "SELL", "0.02"),
        ]  # fmt: skip
        self.log = [
            event("quote", [(1, 30_000 * UNIT, 1, 30_001 * UNIT, 1, 0)], 0, 1, producer="feed"),
            event("intent", [(ONE.encode(), b"", 1, 1, 1, 1, 0, 0, 0, b"maker")], 1, 1990, producer="executor"),
            event("intent", [(TWO.encode(), b"", 1, -1, 1, 1, 0, 0, 0, b"maker")], 2, 4990, producer="executor"),
            *(
                event("update", [(name.encode(), 0, status, 1, 1, 1, 0, 0, 5, 0)], seq, at_ms)
                for seq, (name, status, at_ms) in enumerate(
                    [(ONE, 1, 1995), (ONE, 2, 2001), (ONE, 4, 3001), (TWO, 1, 4995), (TWO, 2, 5001), (TWO, 4, 6001)], 3
                )
            ),
            packed("alert", 20, 8000, what="session_stopping"),
            packed("run", 21, 12_000, node="session"),
            packed("command", 22, 20_000, "operator", command="kill_switch", on=True),
            packed("command", 23, 40_000, "operator", command="kill_switch", on=False),
            packed(
                "health", 24, 60_000, "executor", fills=0,
                strategies={"maker": {"positions": {BTC: {"position": 0.0}}}},
            ),
        ]  # fmt: skip

    def judge(self, until_ms: float = float("inf"), first_ms: int = 1, asked_ms: float = account.ASKED_MS) -> Findings:
        findings, stored, traded = Findings(), account.StoredAccount(), trading.StoredTrading()
        facts = LimitFacts(SettingsInForce(Settings(LIMITS)))
        for _ in facts.watch(traded.watch(stored.watch(sorted(self.log, key=lambda one: one.seq_ns)))):
            pass
        opened = ["client", 990, 1, "opened", "/ws-api/v3"]
        rows = [opened, *self.reports, *(["asked", *one] for one in self.asked)]
        contents = ledger_of(sorted(rows, key=lambda row: row[1]), self.asked != [], first_ms)
        order_rules.compare(contents, stored, traded, facts, findings, asked_ms, until_ms=until_ms)
        return findings


def test_a_clean_history_is_found_clean_and_all_of_it_was_looked_at():
    findings = History().judge()
    assert findings.ok, findings.sentences
    counted = findings.counts
    assert counted["requests_checked"] == counted["lives_checked"] == counted["windows_checked"] == 2
    assert counted["limits_checked"] == 4 and counted["limits_in_all_checked"] == 1 and counted["strategies_checked"] == 1
    assert not [name for name in counted if "not_compared" in name and counted[name]]


def test_a_session_that_trades_over_rest_may_try_to_connect_meanwhile():
    """It had asked over REST what a reconciliation asks; that its connection came to nothing is on no record."""
    history = History()
    opened = "opened /ws-api/v3"
    history.asked[4:] = [
        (4000, 2, opened, "", 200), (4100, 0, OPEN, "", 200), (4200, 0, HELD, "", 200), (4300, 3, opened, "", 200),
        (4301, 3, SUBSCRIBE, "", 200), (5000, 0, "POST /api/v3/order", TWO, 200),
    ]  # fmt: skip
    findings = history.judge()
    assert findings.ok and findings.counts["early_not_compared"] == 1, findings.sentences


def ahead(one: Event, seconds: float) -> Event:
    """The event as a log has it whose time is so far ahead of the venue's."""
    ns = int(seconds * 1e9)
    return one._replace(seq_ns=one.seq_ns + ns, sent_ns=one.sent_ns + ns)


@pytest.mark.parametrize(("known_ms", "faults"), [(2001, 0), (15_000, 1)])
def test_a_log_that_is_ahead_of_the_venue_is_judged_by_the_venue_s_clock(known_ms, faults):
    """A mesh whose machine slept is 40 s ahead of the venue; an order works there for 28 s, known to the log soon or late."""
    history = History()
    history.reports[1] = report(11, ONE, "TRADE", "FILLED", 30_000, lots="0.02")
    history.log[3:6] = [
        event("update", [(ONE.encode(), 0, status, 1, 1, 1, 0, 0, 5, 0)], seq, at_ms)
        for seq, status, at_ms in ((3, 2, known_ms), (5, 4, 30_001))
    ]
    trades = [event("trade", [(number, 1, 1, 1, 0)], 100 + number, 1000 * number, producer="feed") for number in range(1, 61)]
    history.log = [ahead(one, 40) for one in [*history.log, *trades]]
    counts = history.judge().counts
    assert counts["order_unknown"] == faults and counts["order_worked_on"] == counts["intent_open"] == 0


def changed(history: History, damage: str) -> None:
    """Plants one fault."""
    three = f"t{LOG}-3-0"
    if damage == "sent twice":
        history.asked.append((2500, 1, "order.place", ONE, 400))
    elif damage == "sent again over REST":
        history.asked.append((2500, 0, "POST /api/v3/order", ONE, 400))
    elif damage == "sent before the balances":
        history.asked[2] = (2100, 0, HELD, "", 200)
    elif damage == "sent though the open orders were refused":
        history.asked[1] = (1010, 0, OPEN, "", 429)
    elif damage == "over REST after orders over a connection, unasked":
        history.asked += [(6500, 2, "opened /ws-api/v3", "", 200), (7000, 0, "POST /api/v3/order", three, 200)]
    elif damage == "sent on USD-M before the balances":
        asked = ["binance_usdm.order.place", "GET /binance_usdm/fapi/v1/openOrders"]
        history.asked += [(7000, 0, asked[1], "", 200), (7001, 3, asked[0], three, 200)]
    elif damage == "sent on a new connection at once":
        history.asked[4:] = [(4000, 2, SUBSCRIBE, "", 200), (5000, 2, "order.place", TWO, 200)]
    elif damage in ("sent after the stop", "sent after the kill switch"):
        history.asked.append((9500 if "stop" in damage else 30_000, 1, "order.place", three, 400))
    elif damage == "pending after the stop":
        history.log.append(event("update", [(three.encode(), 0, 1, 1, 1, 1, 0, 0, 5, 0)], 30, 10_000))
    elif damage == "unknown to the log":
        history.log = [one for one in history.log if one.kind != "update" or ONE.encode() != one.records[0][0]]
        history.reports[1] = report(11, ONE, "TRADE", "FILLED", 30_000, lots="0.02")
    elif damage == "over in the log, and works on":
        history.reports[1] = report(11, ONE, "TRADE", "FILLED", 30_000, lots="0.02")
    elif damage == "an intent without an end":
        history.log.append(event("intent", [(three.encode(), b"", 1, 1, 1, 1, 0, 0, 0, b"maker")], 31, 7000))
    elif damage == "an intent that stays Unknown":
        history.log[8] = event("update", [(TWO.encode(), 0, 9, 1, 1, 1, 0, 0, 5, 0)], 8, 6001)
    elif damage == "a position of another strategy":
        history.log[-1] = packed(
            "health", 24, 60_000, "executor", fills=0, strategies={"taker": {"positions": {BTC: {"position": 0.01}}}}
        )
    elif damage == "beyond the position":
        history.reports[2:] = [report(12, TWO, "NEW", "NEW", 5000), report(12, TWO, "CANCELED", "CANCELED", 6000)]
    elif damage == "beyond the worth":
        history.log[0] = event("quote", [(1, 60_000 * UNIT, 1, 60_001 * UNIT, 1, 0)], 0, 1, producer="feed")
    elif damage == "beyond the open orders":
        history.reports[1] = report(11, ONE, "TRADE", "FILLED", 5500, lots="0.02")
        history.log[5] = event("update", [(ONE.encode(), 0, 4, 1, 1, 1, 0, 0, 5, 0)], 5, 5501)


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        ("sent twice", "sent_twice"), ("sent again over REST", "sent_twice"), ("sent before the balances", "sent_early"),
        ("sent though the open orders were refused", "sent_early"),
        ("sent on a new connection at once", "sent_early"),
        ("sent on USD-M before the balances", "sent_early"),
        ("over REST after orders over a connection, unasked", "sent_early"),
        ("sent after the stop", "sent_after_stop"), ("sent after the kill switch", "sent_after_stop"),
        ("pending after the stop", "sent_after_stop"), ("unknown to the log", "order_unknown"),
        ("over in the log, and works on", "order_worked_on"), ("an intent without an end", "intent_open"),
        ("an intent that stays Unknown", "intent_open"), ("a position of another strategy", "strategy_position"),
        ("beyond the position", "limit_exceeded"), ("beyond the worth", "limit_exceeded"),
        ("beyond the open orders", "limit_exceeded"),
    ],
)  # fmt: skip
def test_every_planted_fault_is_found(damage, fault):
    history = History()
    changed(history, damage)
    findings = history.judge()
    assert fault in findings.faults, (dict(findings.faults), findings.sentences)


@pytest.mark.parametrize(("before_end_ms", "faults"), [(20_000, 0), (30_000, 1)])
def test_an_order_that_is_at_no_venue_is_open_as_long_as_the_session_cannot_believe_it(before_end_ms, faults):
    """One that stood at an exchange whose folder was removed, just before the mesh was stopped."""
    history, three = History(), f"t{LOG}-3-0"
    intended_ms = 60_000 - before_end_ms
    history.log += [
        event("intent", [(three.encode(), b"", 1, 1, 1, 1, 0, 0, 0, b"maker")], 31, intended_ms),
        event("update", [(three.encode(), 0, 2, 1, 1, 1, 0, 0, 5, 0)], 32, intended_ms + 5),
    ]  # fmt: skip
    findings = history.judge()
    assert findings.counts["intents_without_end"] == 1 and findings.counts["intent_open"] == faults, findings.sentences


def test_a_stop_of_one_venue_s_session_is_none_of_another_s():
    """And an order that somebody else places is in no limit's way, though it counts."""
    history = History()
    usdm = f"t{LOG}-4-0"
    history.asked += [
        (100, 0, "GET /binance_usdm/fapi/v1/openOrders", "", 200), (101, 0, "GET /binance_usdm/fapi/v3/balance", "", 200),
        (9500, 0, "POST /binance_usdm/fapi/v1/order", usdm, 200),
    ]  # fmt: skip
    history.reports += [report(90 + n, f"by-hand-{n}", "NEW", "NEW", 7000 + n) for n in range(3)]
    assert not {"sent_after_stop", "limit_exceeded"} & set(history.judge().faults)
    history.asked[-1] = (30_000, 0, "POST /binance_usdm/fapi/v1/order", usdm, 200)
    assert "sent_after_stop" in history.judge().faults, "but the kill switch is of all"


@pytest.mark.parametrize(
    ("strategy", "parent_seq", "at_ms", "faults"),
    [
        ("maker", 5, 47_000, 1),
        ("taker", 5, 47_000, 0),
        ("maker", 0, 47_000, 0),
        ("maker", 5, 45_500, 0),
        ("maker", 5, 51_500, 0),
    ],
)
def test_a_strategy_that_is_not_on_orders_nothing_but_to_close_its_position(strategy, parent_seq, at_ms, faults):
    """It is switched at 45 s, and on again at 50 s; what was on its way has a second."""
    history, three = History(), f"t{LOG}-3-0"
    history.asked.append((at_ms, 1, "order.place", three, 400))
    history.log += [
        packed("command", 40, 45_000, "operator", command="strategy", name="maker", state="shadow"),
        packed("command", 41, 50_000, "operator", command="strategy", name="maker", state="live"),
        event("intent", [(three.encode(), b"", 1, 1, 1, 1, 0, 0, 0, strategy.encode(), parent_seq)], 42, at_ms - 5),
    ]
    assert history.judge().faults["sent_after_stop"] == faults


def test_what_cannot_be_seen_is_never_found_right():
    """A ledger of before these rows, an executor that has not read the last fills: counted, not passed over."""
    history = History()
    history.asked = []
    history.log[-1] = packed("health", 24, 60_000, "executor", fills=5, strategies={})
    findings = history.judge()
    assert findings.counts["requests_not_compared"] == findings.counts["strategies_not_compared"] == 1
    assert not findings.counts["requests_checked"] and not findings.counts["strategies_checked"]


@pytest.mark.parametrize(
    ("side", "held", "faults"), [(-1, 0.02, set()), (-1, 0.04, {"strategy_position"}), (1, 0.06, {"limit_exceeded"})]
)
def test_a_position_of_before_the_ledger_is_gone_on_with(side, held, faults):
    """An exchange's folder was removed, the log goes on. Sold 0.02 before, bought 0.04 now: 0.02, of 0.03 that it may have."""
    history, before = History(), f"t{LOG}-0-0"
    history.reports[2:] = [
        report(12, TWO, "NEW", "NEW", 5000), report(12, TWO, "TRADE", "FILLED", 6000, lots="0.02"),
    ]  # fmt: skip
    history.log[2] = event("intent", [(TWO.encode(), b"", 1, 1, 1, 1, 0, 0, 0, b"maker")], 2, 4990, producer="executor")
    history.log[:0] = [
        event("intent", [(before.encode(), b"", 1, side, 1, 1, 0, 0, 0, b"maker")], 0, 100, producer="executor"),
        event("update", [(before.encode(), 0, 4, side, 1, 1, 0, 0, 5, 0)], 0, 101),
        fill(0, before, 102, side),
    ]
    history.log += [fill(40, ONE, 3002, 1), fill(41, TWO, 6002, 1), said(42, 61_000, 3, maker=held)]
    findings = history.judge(first_ms=900)
    assert set(findings.faults) == faults, findings.sentences
    assert findings.counts["strategies_checked"] == 1 and not findings.counts["strategies_not_compared"]


@pytest.mark.parametrize(("held", "faults"), [(0.02, 0), (0.0, 1)])
def test_what_the_log_has_not_got_yet_is_no_difference_of_a_strategy_s_position(held, faults):
    """The log of a mesh that trades is read first: the second fill of the ledger is not in it, nor the intent of the third."""
    history, three = History(), f"t{LOG}-3-0"
    del history.log[2]
    history.log += [fill(40, ONE, 3002, 1), said(42, 61_000, 1, maker=held)]
    history.reports += [
        report(13, three, "NEW", "NEW", 61_001), report(13, three, "TRADE", "FILLED", 61_002, lots="0.02"),
    ]  # fmt: skip
    findings = history.judge()
    assert findings.counts["strategy_position"] == faults, findings.sentences
    assert findings.counts["strategies_checked"] == 1


@pytest.mark.parametrize(
    ("logged_ms", "held", "faults", "not_compared"), [(60_500, 0.02, 0, 0), (60_500, 0.0, 1, 0), (6002, 0.02, 0, 1)]
)
def test_the_fills_that_an_executor_had_read_are_compared_and_it_has_to_have_read_them_soon(
    logged_ms, held, faults, not_compared
):
    """It says that it knows one fill; the second is in the log since then, or was for most of a minute."""
    history = History()
    history.log += [fill(40, ONE, 3002, 1), fill(41, TWO, logged_ms, -1), said(42, 61_000, 1, maker=held)]
    findings = history.judge()
    assert findings.counts["strategy_position"] == faults, findings.sentences
    assert findings.counts["strategies_not_compared"] == not_compared
    assert findings.counts["strategy_fills_on_their_way"] == 1 - not_compared
    settled = history.judge(asked_ms=0).counts
    assert settled["strategies_not_compared"] == 1 and not settled["strategy_position"], "nothing may be on its way then"


def test_what_is_sent_after_the_log_was_read_is_judged_when_its_commands_are():
    """The kill switch was on when the log of a mesh that trades had been read; a moment later it was off, and orders sent."""
    history = History()
    history.log = [one for one in history.log if one.seq != 23]
    history.asked += [(61_000, 1, "order.place", f"t{LOG}-3-0", 200)]
    findings = history.judge(until_ms=60_000)
    assert findings.ok and findings.counts["requests_on_their_way"] == 1, findings.sentences
    assert "sent_after_stop" in history.judge().faults, "of a mesh that is down nothing comes any more"
    history.asked[-1] = (59_000, *history.asked[-1][1:])
    assert "sent_after_stop" in history.judge(until_ms=60_000).faults


def test_usd_m_and_amended_orders_are_read_under_their_first_name():
    contents = ledger_of([])
    text = '{"e":"ORDER_TRADE_UPDATE","o":{"s":"BTCUSDT","c":"%s","S":"SELL","x":"NEW","X":"NEW","i":4,'
    text += '"t":0,"m":false,"L":"0","l":"0","n":"0","N":null,"q":"1","p":"5"}}'
    contents.take([2, "event", 5, text % ONE, "binance_usdm"])
    contents.take([3, "event", 6, text.replace('"x":"NEW"', '"x":"AMENDMENT"') % "renamed", "binance_usdm"])
    (first, second) = contents.orders["binance_usdm.BTCUSDT"]
    assert (first.client_order_id, second.client_order_id, second.what, first.side) == (ONE, ONE, "AMENDMENT", -1)
    assert (first.total, first.limit) == (10**8, 5 * 10**8)
    assert Asked(1, 3, "binance_usdm.order.place", ONE, 200).places
    assert Asked(1, 0, "POST /binance_usdm/fapi/v1/order", ONE, 200).venue == "binance_usdm"
