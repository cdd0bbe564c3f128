"""Orders, fills and balances in the log against the exchange's events of the account: none doubled, none lost, all equal."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import chain
from typing import Any, NamedTuple

from tickmesh.tools.judge.exchange_ledger import LedgerContents, subject_of
from tickmesh.tools.judge.findings import Findings
from tickmesh.tools.judge.log import Event
from tickmesh.tools.judge.order_events import OrderEvent

# A session that was away, or was not told, asks the venue within `session.reconcile_s` (5 s) and what the answer takes.
ASKED_MS = 12_000
NEW = 1  # action of an intent
SCALE_MAX = 11  # of a balance
OPEN = ("NEW", "PARTIALLY_FILLED")
FINAL = (4, 6, 7, 8)  # Filled, Canceled, Rejected, Expired
NAMES = (
    "order_doubled",
    "order_lost",
    "order_orphaned",
    "fill_doubled",
    "fill_lost",
    "fill_invented",
    "fill_different",
    "balance",
)

OrderKey = tuple[str, str]  # subject, client order id
FillKey = tuple[str, str, int]  # and the trade id


class FillValues(NamedTuple):
    """What a fill is: side +1 bought, −1 sold; mantissas at 10^−8."""

    side: int
    maker: bool
    order_id: int
    price: int
    quantity: int
    fee: int
    fee_asset: str


class StoredAccount:
    """The orders, fills and balances that a log has."""

    def __init__(self) -> None:
        self.intents: set[OrderKey] = set()  # to send an order
        self.status: dict[OrderKey, int] = {}  # of each order, by its newest update
        self.fills: dict[FillKey, FillValues] = {}
        self.logged_ms: dict[FillKey, float] = {}  # when a fill came, by the log's time
        self.copies: list[FillKey] = []
        # The newest, free and locked at 10^−8: by asset of spot, by `venue.asset` of others
        self.balances: dict[str, tuple[int, int]] = {}

    def watch(self, events: Iterable[Event]) -> Iterator[Event]:
        """Takes events, and passes them on."""
        for event in events:
            if event.kind in ("intent", "update", "fill"):
                self._take(event)
            elif event.kind == "balance":
                for asset, free, locked, _, _, *more in event.records:
                    unit = 10 ** (more[0] if more else 0)  # of its scale, which older files have not
                    venue = event.subject.partition(".")[0]
                    name = asset.decode() if venue == "binance" else f"{venue}.{asset.decode()}"
                    self.balances[name] = free * unit, locked * unit
            yield event

    def _take(self, event: Event) -> None:
        for record in event.records:
            key = event.subject, record[0].decode()
            if event.kind == "intent" and record[2] == NEW:
                self.intents.add(key)
            elif event.kind == "update":
                _, _, status, _, _, _, _, _, quantity, *_ = record
                if quantity:  # else it is the refusal of a cancel
                    self.status[key] = status
            elif event.kind == "fill":
                _, side, maker, order_id, trade_id, price, quantity, fee, asset, *_ = record
                if (fill := (*key, trade_id)) in self.fills:
                    self.copies.append(fill)
                self.logged_ms[fill] = event.seq_ns / 1e6
                self.fills[fill] = FillValues(side, bool(maker), order_id, price, quantity, fee, asset.decode())


def compare(
    ledger: LedgerContents, stored: StoredAccount, findings: Findings, begun_ms: float = 0.0, asked_ms: float = ASKED_MS
) -> dict[str, Any]:
    """Compares the account with the exchange's ledger; gives by instrument what was compared, and its position by both.

    Only orders of this log's executor are compared, and those that the session adopted: others (by hand, of another log) are
    counted. What happened in the last `asked_ms` may still be on its way. `begun_ms`: since when a mesh that runs is looked at;
    0: it is down.
    """
    for name in (*NAMES, "orders_checked", "fills_checked", "fills_on_their_way", "fills_before_ledger", "orders_of_others"):
        findings.count(name, 0)
    late_ms = (min(begun_ms, ledger.last_ms) if begun_ms else ledger.last_ms) - asked_ms
    logs = {log_of(name) for _, name in stored.intents} - {""}  # of the executor that this log is of
    # and of what the session adopted: of a lost log, by hand
    kept = stored.status.keys() | {key[:2] for key in stored.fills}
    true_fills: dict[FillKey, FillValues] = {}
    newest: dict[OrderKey, OrderEvent] = {}
    sent: Counter[OrderKey] = Counter()
    for event in chain.from_iterable(ledger.orders.values()):
        key = subject_of(event.symbol), event.client_order_id
        if log_of(key[1]) not in logs and key not in kept:
            findings.count("orders_of_others", int(event.what == "NEW"))
            continue
        newest[key] = event
        sent[key] += event.what == "NEW"
        if event.what == "TRADE":
            true_fills[*key, event.trade_id] = FillValues(
                event.side, event.maker, event.order_id, event.price, event.quantity, event.fee, _stored_name(event.fee_asset)
            )
    late = {key for key, event in newest.items() if event.time_ms >= late_ms}
    for key, count in sent.items():
        findings.count("orders_checked")
        if count > 1:
            _fault(findings, "order_doubled", f"{_name(key)} was placed {count} times")
        if key not in stored.intents and log_of(key[1]) in logs and key not in late:
            _fault(findings, "order_lost", f"{_name(key)} was placed at the exchange, and the log has no intent of it")
    for key, event in newest.items():
        working = event.status in OPEN and event.time_ms > ledger.orders_lost_ms
        if working and stored.status.get(key) in FINAL and event.time_ms < late_ms:
            _fault(findings, "order_orphaned", f"{_name(key)} works at the exchange; for the log it is over")
    _compare_balances(ledger, stored, late_ms, findings)
    return _compare_fills(ledger, stored, true_fills, late, findings)


def earlier_fills(ledger: LedgerContents, stored: StoredAccount) -> list[OrderEvent]:
    """The log's fills that are older than the ledger, in order of the log, as events of it: they were at an exchange whose
    folder was removed since, or in files of it that are. An executor goes on with what they came to."""
    known = {
        (subject_of(event.symbol), event.client_order_id, event.trade_id)
        for event in ledger.order_events() if event.what == "TRADE"
    }  # fmt: skip
    return [
        OrderEvent(
            key[0], key[1], "TRADE", "FILLED", int(stored.logged_ms[key]), one.side, one.order_id, key[2], one.maker, one.price,
            one.quantity, one.fee, one.fee_asset,
        )
        for key, one in stored.fills.items() if key not in known and _is_earlier(ledger, stored, key)
    ]  # fmt: skip


def _is_earlier(ledger: LedgerContents, stored: StoredAccount, key: FillKey) -> bool:
    """Whether a fill that the ledger lacks was logged before it began."""
    return stored.logged_ms.get(key, ledger.last_ms) < ledger.first_ms + (0 if ledger.complete else ASKED_MS)


def _compare_fills(
    ledger: LedgerContents,
    stored: StoredAccount,
    true_fills: dict[FillKey, FillValues],
    late: set[OrderKey],
    findings: Findings,
) -> dict[str, Any]:
    for key in stored.copies:
        _fault(findings, "fill_doubled", f"{_name(key[:2])}: trade {key[2]} is in the log twice")
    true_lots: Counter[str] = Counter()
    lots: Counter[str] = Counter()
    fills: Counter[str] = Counter()
    coming: dict[str, int] = defaultdict(int)
    for key, true in true_fills.items():
        findings.count("fills_checked")
        true_lots[key[0]] += true.side * true.quantity
        mine = stored.fills.get(key)
        if mine is None and key[:2] in late:
            findings.count("fills_on_their_way")
            coming[key[0]] += true.side * true.quantity
        elif mine is None:
            _fault(findings, "fill_lost", f"{_name(key[:2])}: trade {key[2]} is not in the log")
        elif mine != true:
            _fault(findings, "fill_different", f"{_name(key[:2])}: trade {key[2]} is {tuple(mine)}, truly {tuple(true)}")
    for key, mine in stored.fills.items():
        lots[key[0]] += mine.side * mine.quantity
        fills[key[0]] += 1
        if key not in true_fills:
            if not _is_earlier(ledger, stored, key):
                _fault(findings, "fill_invented", f"{_name(key[:2])}: trade {key[2]} is in the log, and never was")
            else:
                findings.count("fills_before_ledger")
                true_lots[key[0]] += mine.side * mine.quantity
    out = {}
    for subject in sorted({*true_lots, *lots}):
        due, held = true_lots[subject] - coming[subject], lots[subject]
        out[subject] = {"fills": fills[subject], "position": held / 10**8, "position_by_ledger": due / 10**8}
        if due != held:
            findings.fault("position", f"{subject}: the position is {held} by the log, {due} by the exchange (at 10^-8)")
    return out


def _compare_balances(ledger: LedgerContents, stored: StoredAccount, late_ms: float, findings: Findings) -> None:
    """Of each asset: the log has the newest balance that cannot be on its way any more, or a later one, whoever changed it."""
    for name in ("balances_checked", "balances_on_their_way", "balances_not_held"):
        findings.count(name, 0)
    for asset, events in ledger.balances.items() if stored.balances else ():
        if not events:
            continue
        time_ms, *true = events[-1]
        # from the newest one on that cannot be on its way any more
        young = [tuple(one[1:]) for one in events if one.time_ms >= late_ms]
        due = [tuple(one[1:]) for one in events if one.time_ms < late_ms][-1:]
        findings.count("balances_on_their_way", int(time_ms >= late_ms))
        if not due:
            continue
        if not any(all(one % 10**s == 0 and one // 10**s < 2**63 for one in true) for s in range(SCALE_MAX + 1)):
            findings.count("balances_not_held")
        else:
            findings.count("balances_checked")
            mine = stored.balances.get(_stored_name(asset))
            if mine not in [*due, *young]:
                shown = f"{mine} by the log, {tuple(true)} by the exchange (free, locked, at 10^-8)"
                _fault(findings, "balance", f"{asset}: the balance is {shown}")


def _stored_name(asset: str) -> str:
    """As docs/messages.md says of `balance`."""
    venue, point, name = asset.rpartition(".")
    raw = name.encode()
    if len(raw) <= 16:
        return asset
    return f"{venue}{point}" + raw[:11].decode(errors="ignore") + "~" + sha256(raw).hexdigest()[:4]


def log_of(client_order_id: str) -> str:
    """The log that an order of an executor names (`t<log id>-…`); "" of any other order."""
    log_id, _, rest = client_order_id[1:].partition("-")
    return log_id if client_order_id[:1] == "t" and len(log_id) == 16 and rest else ""


def _name(key: tuple[str, ...]) -> str:
    return f"{key[0]}: order {key[1]}"


def _fault(findings: Findings, name: str, sentence: str) -> None:
    findings.count(name)
    findings.fault(name, sentence)
