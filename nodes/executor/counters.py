"""What an executor counts, for its `health` events: by instrument, by strategy, and in all."""

from collections import Counter
from collections.abc import Iterable, Mapping, Set

from tickmesh.nodes.executor.exposure import Exposures
from tickmesh.nodes.executor.parents import Parent
from tickmesh.nodes.executor.positions import Position
from tickmesh.nodes.executor.profit import money_of, money_value
from tickmesh.nodes.executor.state import ExecutorState, InstrumentState, StrategyStatus
from tickmesh.nodes.executor.traders import Trader

FEE_UNIT = 1e-8


def executor_counters(state: ExecutorState, listed: Set[str], exposures: Exposures) -> dict[str, object]:
    """Counts in all, `positions` by instrument, `strategies` by name, and `unlisted_orders`: open orders by instrument that is
    not listed (any more).

    Money of one instrument is in units of its quote currency, money in all in that of [risk]; quantities in units of the base.
    """
    refused: Counter[str] = Counter()
    fees: Counter[str] = Counter()
    fundings: Counter[str] = Counter()
    positions, unlisted = {}, {}
    for subject, instrument in state.instruments.items():
        mine = _refused(instrument)
        refused.update(mine)
        fees.update(instrument.position.fees)
        fundings.update(instrument.position.fundings)
        if instrument.involved or mine:
            positions[subject] = _of_instrument(instrument)
        if subject not in listed and instrument.open_orders:
            unlisted[subject] = instrument.open_orders
    traded = state.instruments.values()
    names = sorted({*state.strategies, *(name for one in traded for name, book in one.books.items() if book.position.fills)})
    kill = state.kill
    return {
        "instruments": len(listed),
        "positions": positions,
        "strategies": {name: _of_strategy(state, exposures, name) for name in names},
        "kill_switch": {"on": kill.on, "since_ns": kill.since_ns, "by": kill.by, "why": kill.why},
        "closing": _closing(state),
        "tightened": {scope: values for scope, values in state.tightened.items() if values},
        "unlisted_orders": unlisted,
        "fees": _by_asset(fees),
        "fundings": _by_asset(fundings),
        "profit": money_value(exposures.profit(None)),
        "fills": sum(one.position.fills for one in traded),
        "open_orders": sum(one.open_orders for one in traded),
        "signals": sum(book.signals for one in traded for book in one.books.values()),
        "intents": state.intents,
        "cancels": state.cancels,
        "amends": state.amends,
        "refused": dict(refused),
        "commands_refused": state.commands_refused,
    }


def watched(state: ExecutorState, traders: Mapping[str, Trader]) -> dict[str, dict[str, float]]:
    """What rules of alerts are about: `spread_bp`, by instrument: ask − bid, in bp of the mid; `position_share`, by `strategy
    instrument`: the position's part of its limit there, with its sign left out.
    """
    spreads, shares = {}, {}
    for subject, instrument in state.instruments.items():
        rules, mark = instrument.rules, instrument.mark()
        bid_ticks, _, ask_ticks, _ = instrument.quote
        if mark and ask_ticks > bid_ticks > 0:
            spreads[subject] = round((ask_ticks - bid_ticks) / (ask_ticks + bid_ticks) * 20_000, 6)
        for name, book in instrument.books.items():
            if rules is None or name not in traders or subject not in traders[name].subjects:
                continue
            sizes, _ = traders[name].sizes(subject, rules)
            if mark and (most := sizes.position_lots(mark)):
                shares[f"{name} {subject}"] = round(abs(book.position.lots) / most, 6)
    return {"spread_bp": spreads, "position_share": shares}


def _closing(state: ExecutorState) -> dict[str, dict[str, str]]:
    """Positions that a person has closed: instrument → strategy → why one is not closed yet."""
    waiting = {subject: one.closing for subject, one in state.instruments.items() if one.closing}
    return {subject: {name: one.why for name, one in closing.items()} for subject, closing in waiting.items()}


def _refused(instrument: InstrumentState) -> Counter[str]:
    counted: Counter[str] = Counter()
    for book in instrument.books.values():
        counted.update(book.refusals)
    return counted


def _by_asset(amounts: dict[str, int]) -> dict[str, float]:
    return {asset: mantissa * FEE_UNIT for asset, mantissa in amounts.items()}


def _of_position(instrument: InstrumentState, position: Position) -> dict[str, object]:
    rules, mark = instrument.rules, instrument.mark()
    price_unit = 10.0**rules.price_exponent if rules else 0.0
    quantity_unit = 10.0**rules.quantity_exponent if rules else 0.0
    unrealised = position.unrealised(mark) if mark else 0
    return {
        "position": position.lots * quantity_unit,
        "average_price": position.average_ticks * price_unit,
        "realised": position.realised * price_unit * quantity_unit,
        "unrealised": unrealised * price_unit * quantity_unit,
        "fees": _by_asset(position.fees),
        "fee_cost": position.fee_cost * price_unit * quantity_unit,
        "funding": position.funding * price_unit * quantity_unit,
        "fundings": _by_asset(position.fundings),
        "fills": position.fills,
    }


def _of_instrument(instrument: InstrumentState) -> dict[str, object]:
    return {
        **_of_position(instrument, instrument.position),
        "open_orders": instrument.open_orders,
        "intents": sum(book.intents for book in instrument.books.values()),
        "refused": dict(_refused(instrument)),
    }


def _of_parent(instrument: InstrumentState, parent: Parent) -> dict[str, object]:
    """A parent order that is worked: how far it is, and its shortfall so far. `waits`: which guard or refusal holds it."""
    rules = instrument.rules
    assert rules is not None, "a parent is of a defined instrument"
    quantity_unit = 10.0**rules.quantity_exponent
    return {
        "seq": parent.seq,
        "style": parent.style,
        "side": parent.side,
        "shadow": parent.shadow,
        "wanted": parent.wanted_lots * quantity_unit,
        "filled": parent.filled_lots * quantity_unit,
        "shortfall": parent.shortfall * 10.0 ** (rules.price_exponent + rules.quantity_exponent),
        "orders": parent.placed,
        "deadline_ns": parent.deadline_ns,
        "waits": parent.paused,
    }


def _of_strategy(state: ExecutorState, exposures: Exposures, name: str) -> dict[str, object]:
    """A strategy's state, its money in all, and its positions and the parent that it works, by instrument; `shadow`: what was
    simulated.
    """
    status = state.strategies.get(name, StrategyStatus("", "" if not name else "mesh.toml does not have it any more"))
    books = {subject: one.books[name] for subject, one in state.instruments.items() if name in one.books}
    positions, shadow, parents = {}, {}, {}
    fees: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for subject, book in books.items():
        fees.update(book.position.fees)
        refused.update(book.refusals)
        if book.position.fills:
            positions[subject] = _of_position(state.instruments[subject], book.position)
        if book.shadow.fills:
            shadow[subject] = _of_position(state.instruments[subject], book.shadow)
        if (worked := book.worked()) is not None:
            parents[subject] = _of_parent(state.instruments[subject], worked)
    return {
        "state": status.state,
        "why": status.why,
        "positions": positions,
        "shadow": shadow,
        "parents": parents,
        "profit": money_value(exposures.profit(name)),
        "shadow_profit": _shadow_profit(state.instruments.values(), name),
        "fees": _by_asset(fees),
        "fills": sum(book.position.fills for book in books.values()),
        "open_orders": sum(
            not order.final and order.strategy == name for one in state.instruments.values() for order in one.orders.values()
        ),
        "signals": sum(book.signals for book in books.values()),
        "intents": sum(book.intents for book in books.values()),
        "refused": dict(refused),
    }


def _shadow_profit(instruments: Iterable[InstrumentState], name: str) -> float:
    total = 0
    for one in instruments:
        if one.rules is not None and name in one.books and one.books[name].shadow.fills:
            total += money_of(one.books[name].shadow.profit(one.mark()), one.rules)
    return money_value(total)
