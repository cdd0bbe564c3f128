"""What an executor counts, for its `health` events: by instrument, and in all."""

from collections import Counter
from collections.abc import Set

from tickmesh.nodes.executor.state import ExecutorState, InstrumentState
from tickmesh.nodes.executor.styles import Quote

FEE_UNIT = 1e-8


def executor_counters(state: ExecutorState, listed: Set[str]) -> dict[str, object]:
    """Counts in all, `positions` by instrument, and `unlisted_orders`: open orders by instrument that is not listed (any more).

    Money is in units of each instrument's quote currency, quantities in units of its base.
    """
    refused: Counter[str] = Counter()
    fees: Counter[str] = Counter()
    positions, unlisted = {}, {}
    for subject, instrument in state.instruments.items():
        refused.update(instrument.refusals)
        fees.update(instrument.position.fees)
        if instrument.involved or instrument.refusals:
            positions[subject] = _of_instrument(instrument)
        if subject not in listed and instrument.open_orders:
            unlisted[subject] = instrument.open_orders
    traded = state.instruments.values()
    return {
        "instruments": len(listed),
        "positions": positions,
        "unlisted_orders": unlisted,
        "fees": {asset: mantissa * FEE_UNIT for asset, mantissa in fees.items()},
        "fills": sum(one.position.fills for one in traded),
        "open_orders": sum(one.open_orders for one in traded),
        "signals": sum(one.signals for one in traded),
        "intents": state.intents,
        "cancels": state.cancels,
        "refused": dict(refused),
    }


def _of_instrument(instrument: InstrumentState) -> dict[str, object]:
    rules, position, quote = instrument.rules, instrument.position, Quote(*instrument.quote)
    price_unit = 10.0**rules.price_exponent if rules else 0.0
    quantity_unit = 10.0**rules.quantity_exponent if rules else 0.0
    mid_ticks = (quote.bid_ticks + quote.ask_ticks) // 2 if quote.tradable else 0
    unrealised = position.unrealised(mid_ticks) if mid_ticks else 0
    return {
        "position": position.lots * quantity_unit,
        "average_price": position.average_ticks * price_unit,
        "realised": position.realised * price_unit * quantity_unit,
        "unrealised": unrealised * price_unit * quantity_unit,
        "fees": {asset: mantissa * FEE_UNIT for asset, mantissa in position.fees.items()},
        "fills": position.fills,
        "open_orders": instrument.open_orders,
        "intents": instrument.intents,
        "refused": dict(instrument.refusals),
    }
