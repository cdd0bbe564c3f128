"""Rules that hold at every moment of trading, judged by the exchange's ledger: nothing sent twice, too early, too late, or
beyond a limit; every order known while it works; every intent over in the end."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import chain, islice

from tickmesh.tools.judge.account import ASKED_MS, FINAL, OrderKey, StoredAccount, earlier_fills, log_of
from tickmesh.tools.judge.exchange_ledger import LedgerContents, subject_of
from tickmesh.tools.judge.findings import Findings
from tickmesh.tools.judge.limit_facts import LimitFacts
from tickmesh.tools.judge.limits import LimitCheck
from tickmesh.tools.judge.order_events import BY_REST, Asked, OrderEvent
from tickmesh.tools.judge.trading import StoredTrading

ORPHANED_MS = 12_000  # so long an order may work at the venue while the log does not know it, or has it over
# The session believes that an order is not at the venue `recv_window_ms` and `absence_margin_s` (12 s) after it was sent.
ABSENT_MS = ASKED_MS + 12_000
STOP_MS = 1_000  # from a stop, or the kill switch, in the log until nothing is sent any more
SUBSCRIBED = "userDataStream.subscribe"  # how the operations begin that begin a connection's user stream
# How the questions end that a reconciliation asks at least, of either venue
QUESTIONS = {"openOrders": "open orders", "account": "balances", "balance": "balances"}
PLACED_STATES = ("NEW", "PARTIALLY_FILLED")
OVER = ("FILLED", "CANCELED", "EXPIRED", "EXPIRED_IN_MATCH", "REJECTED")
NAMES = (
    "sent_twice", "sent_early", "sent_after_stop", "order_unknown", "order_worked_on", "intent_open", "limit_exceeded",
    "strategy_position",
)  # fmt: skip


def compare(
    ledger: LedgerContents,
    stored: StoredAccount,
    trading: StoredTrading,
    facts: LimitFacts,
    findings: Findings,
    asked_ms: float = ASKED_MS,
    absent_ms: float = ABSENT_MS,
    until_ms: float = float("inf"),
) -> None:
    """Judges the rules; fills the findings. `facts`: what the log says of limits, of each strategy by its name, and of all.
    `asked_ms`: for so long an intent's end may be on its way when the log ends; `absent_ms`: of an order that the ledger lacks.
    `until_ms`: what the ledger has later may be of intents and commands that were not read: of a mesh that runs.

    What a ledger or a log cannot show is counted under a name with `not_compared`, and never found right.
    """
    for name in (
        *NAMES,
        "requests_checked",
        "early_not_compared",
        "lives_checked",
        "windows_checked",
        "limits_checked",
        "limits_in_all_checked",
        "limits_not_compared",
        "strategies_checked",
        "requests_on_their_way",
        "strategy_fills_on_their_way",
    ):
        findings.count(name, 0)
    logs = {log_of(name) for _, name in stored.intents} - {""}
    mine = [
        event for event in ledger.order_events(until_ms)
        if log_of(event.client_order_id) in logs or (subject_of(event.symbol), event.client_order_id) in stored.status
    ]  # fmt: skip
    if ledger.asked is None:
        findings.count("requests_not_compared")
    else:
        asked = [one for one in ledger.asked if one.time_ms <= until_ms]
        findings.count("requests_on_their_way", sum(one.places for one in ledger.asked) - sum(one.places for one in asked))
        _sent_twice(ledger.asked, logs, findings)
        _sent_early(ledger.asked, logs, findings)
        _sent_after_stop(asked, logs, trading, findings)
    _lives(mine, trading, findings)
    _intents(ledger, mine, stored, trading, findings, asked_ms, absent_ms)
    check = LimitCheck(facts, findings)
    for event in chain(earlier_fills(ledger, stored), mine):
        check.take(event)
    _strategies(mine, trading, findings, asked_ms)


def _sent_twice(asked: Iterable[Asked], logs: set[str], findings: Findings) -> None:
    sent = Counter((one.venue, one.order) for one in asked if one.places and log_of(one.order) in logs)
    for (venue, order), times in sent.items():
        findings.count("requests_checked")
        if times > 1:
            _fault(findings, "sent_twice", f"{venue}: order {order} was sent {times} times")


def _sent_early(asked: Iterable[Asked], logs: set[str], findings: Findings) -> None:
    """Of each connection: a reconciliation's questions are answered before its first order, and since its user stream began.

    A session that trades over REST goes on with what it has asked there while it tries to connect again. That it was no new
    session is on no record: those orders are counted, and not judged.
    """
    answered: dict[int, set[str]] = {}  # by connection, which of them were answered
    by_rest: dict[str, set[str]] = defaultdict(set)  # by venue, likewise over REST since an order went over a connection
    newest: dict[str, int] = {}  # by venue, the connection that was opened last
    for one in asked:
        if one.opens or (one.operation.startswith(SUBSCRIBED) and one.status == 200):
            answered[one.connection], newest[one.venue] = set(), one.connection
        elif one.connection == BY_REST and one.status == 200 and one.operation.startswith("GET "):
            question = QUESTIONS.get(one.operation.rpartition("/")[2])
            if question and one.venue in newest:
                answered[newest[one.venue]].add(question)
                by_rest[one.venue].add(question)
        if not one.places:
            continue
        missing = sorted(set(QUESTIONS.values()) - answered.get(one.connection or newest.get(one.venue, BY_REST), set()))
        if one.connection != BY_REST:
            by_rest[one.venue].clear()
        if missing and log_of(one.order) in logs:
            if by_rest[one.venue] >= set(QUESTIONS.values()):
                findings.count("early_not_compared")
            else:
                _fault(findings, "sent_early", f"order {one.order} was sent before {' and '.join(missing)} were answered")


def _sent_after_stop(asked: Iterable[Asked], logs: set[str], trading: StoredTrading, findings: Findings) -> None:
    """By the exchange's clock with a margin, and by the session's own words without one but for the kill switch."""
    windows = trading.windows_to_the_end()
    findings.count("windows_checked", len(windows))
    strategies = {name: strategy for (_, name), strategy in trading.strategy.items()}
    closing = {name for _, name in trading.closing}
    for window in windows:
        begin_ms = window.begin_ms + STOP_MS
        for one in asked:
            ours = one.places and log_of(one.order) in logs
            if not ours or not window.concerns(one.venue, strategies.get(one.order, ""), one.order in closing):
                continue
            if begin_ms < one.time_ms < window.end_ms:
                late_s = (one.time_ms - window.begin_ms) / 1e3
                _fault(findings, "sent_after_stop", f"order {one.order} was sent {late_s:.1f} s after the {window.what}")
        for placed in trading.placed:
            venue, strategy = placed.key[0].partition(".")[0], trading.strategy.get(placed.key, "")
            if window.concerns(venue, strategy, placed.key in trading.closing) and begin_ms < placed.sent_ms < window.end_ms:
                late_s = (placed.sent_ms - window.begin_ms) / 1e3
                _fault(findings, "sent_after_stop", f"{_name(placed.key)} is PendingNew {late_s:.1f} s after the {window.what}")


def _lives(mine: Iterable[OrderEvent], trading: StoredTrading, findings: Findings) -> None:
    """Every order is in the log soon after it works, and not over there long before it is at the venue."""
    begun: dict[OrderKey, int] = {}
    ended: dict[OrderKey, int] = {}
    for event in mine:
        key = _key(event)
        if event.what == "NEW":
            begun.setdefault(key, event.time_ms)
        if event.status in OVER:
            ended.setdefault(key, event.time_ms)
    for key, begun_ms in begun.items():
        findings.count("lives_checked")
        known_ms = trading.known_ms.get(key, float("inf"))
        end_ms = min(ended.get(key, trading.last_ms), trading.last_ms)
        if end_ms - begun_ms > ORPHANED_MS and known_ms - begun_ms > ORPHANED_MS:
            _fault(findings, "order_unknown", f"{_name(key)} worked for {(end_ms - begun_ms) / 1e3:.1f} s unknown to the log")
        over_ms = trading.ended_ms.get(key)
        if over_ms is not None and end_ms - over_ms > ORPHANED_MS:
            _fault(
                findings,
                "order_worked_on",
                f"{_name(key)} worked for {(end_ms - over_ms) / 1e3:.1f} s after the log's end of it",
            )


def _intents(
    ledger: LedgerContents,
    mine: Iterable[OrderEvent],
    stored: StoredAccount,
    trading: StoredTrading,
    findings: Findings,
    asked_ms: float,
    absent_ms: float,
) -> None:
    """An intent that nothing works of at the venue has a final state, once nothing of it can be on its way any more."""
    newest = {_key(event): event for event in mine}
    open_intents = working = 0
    for key, intended_ms in trading.intended_ms.items():
        if stored.status.get(key) in FINAL:
            continue
        open_intents += 1
        event = newest.get(key)
        if event is not None and event.status in PLACED_STATES and event.time_ms > ledger.orders_lost_ms:
            working += 1
        elif event is not None and trading.last_ms - max(intended_ms, event.time_ms) > asked_ms:
            _fault(findings, "intent_open", f"{_name(key)} is {event.status} at the exchange; in the log it has no end")
        elif event is None and trading.last_ms - intended_ms > absent_ms:
            _fault(findings, "intent_open", f"{_name(key)} never came to the exchange; in the log it has no end")
    findings.count("intents_without_end", open_intents)
    findings.count("orders_working", working)


def _strategies(mine: Iterable[OrderEvent], trading: StoredTrading, findings: Findings, asked_ms: float) -> None:
    """What the executor said last of its strategies' positions against the exchange's fills: those of them that it knew.

    It reads the log in order, so it knew the first so many that are in it; what came to the ledger later is on its way. Those
    of before the ledger are as the log has them. Where nothing may be on its way (`asked_ms` 0) it has to have known all.
    """
    stated = trading.positions
    known = len(trading.fills)
    if stated is None or not (stated.due if asked_ms else known) <= stated.fills <= known:
        findings.count("strategies_not_compared")
        return
    findings.count("strategy_fills_on_their_way", known - stated.fills)
    traded = {(*_key(event), event.trade_id): event.side * event.quantity for event in mine if event.what == "TRADE"}
    true: dict[tuple[str, str], int] = defaultdict(int)
    for (subject, order, trade_id), lots in islice(trading.fills.items(), stated.fills):
        true[trading.strategy.get((subject, order), ""), subject] += traded.get((subject, order, trade_id), lots)
    for key in sorted(true.keys() | stated.held.keys()):
        findings.count("strategies_checked")
        held = round(stated.held.get(key, 0.0) * 10**8)
        if held != true.get(key, 0):
            who = key[0] or "no strategy"
            _fault(
                findings, "strategy_position", f"{key[1]}: {who} has {held} by the executor, {true.get(key, 0)} truly (10^-8)"
            )


def _key(event: OrderEvent) -> OrderKey:
    return subject_of(event.symbol), event.client_order_id


def _name(key: OrderKey) -> str:
    return f"{key[0]}: order {key[1]}"


def _fault(findings: Findings, name: str, sentence: str) -> None:
    findings.count(name)
    findings.fault(name, sentence)
