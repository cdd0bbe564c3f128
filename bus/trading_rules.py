"""What of mesh.toml about trading is impossible beside other keys, and which instruments a strategy trades."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from tickmesh.bus.patterns import matching, some
from tickmesh.bus.settings import ORDER_VENUES, InstrumentSettings, Mesh
from tickmesh.bus.settings_trading import Limits, StrategySettings, resolved


def traded_by(strategy: StrategySettings, instruments: tuple[InstrumentSettings, ...]) -> tuple[InstrumentSettings, ...]:
    """The instruments that a strategy trades, of all; where no pattern is stated the first, if orders can be sent there."""
    if strategy.instruments:
        return matching(strategy.instruments, instruments)
    return tuple(one for one in instruments[:1] if one.venue in ORDER_VENUES)


def contradictions_of_trading(mesh: Mesh, subjects: list[str]) -> Iterator[tuple[str, object, str]]:
    """(key, value, what is allowed) of every key that is impossible."""
    lists = {"executor.instruments": mesh.executor.instruments}
    lists |= {f"strategies[{index}].instruments": one.instruments for index, one in enumerate(mesh.strategies)}
    for key, patterns in lists.items():
        for pattern in patterns:
            matched = matching([pattern], mesh.instruments)
            if not matched:
                yield key, pattern, f"what matches one of {some(subjects)}"
            if elsewhere := [one.subject for one in matched if one.venue not in ORDER_VENUES]:
                venues = " and ".join(ORDER_VENUES)
                allowed = f"instruments of {venues}, where orders can be sent, as in '{ORDER_VENUES[0]}.*'"
                yield key, pattern, f"{allowed}; it matches {some(elsewhere)}"
    names = [one.name for one in mesh.strategies]
    if len(set(names)) < len(names):
        yield "strategies", names, "each name only once"
    models = [model.name for model in mesh.models if not model.features]  # what publishes features gives no signals
    for index, one in enumerate(mesh.strategies):
        key = f"strategies[{index}]"
        for pattern in one.models:
            if pattern != "*" and not any(fnmatchcase(name, pattern) for name in models):
                yield f"{key}.models", pattern, f"what matches one of {', '.join(models)}, like '*'"
        if len(one.sizings) > 1:
            yield key, list(one.sizings), "one way to size its orders"
        if one.order_equity and not one.capital:
            yield (
                f"{key}.capital",
                one.capital,
                "what it begins with: order_equity is a share of that and of what it has gained",
            )
    for venue in mesh.session.accounts:
        if venue not in ORDER_VENUES:
            yield f"session.accounts.{venue}", venue, f"a venue where orders can be sent: {', '.join(ORDER_VENUES)}"
    yield from _impossible_execution(mesh)
    yield from _mixed_money(mesh)


LIVE_LIMITS = ("order_notional_max", "notional_max", "daily_loss_max")  # of [risk]: without them no order leaves for a venue


def contradictions_of_mode(mesh: Mesh) -> Iterator[tuple[str, object, str]]:
    """What a mode that trades on a real venue's market cannot do without."""
    if mesh.mode in ("sim", "capture"):
        return
    traded = [one for strategy in mesh.strategies for one in traded_by(resolved(strategy, mesh.executor), mesh.instruments)]
    if not traded:
        venues = " or ".join(ORDER_VENUES)
        allowed = f"a mode with orders beside a traded instrument of {venues} (the first, or [executor] instruments)"
        yield "mode", mesh.mode, allowed
    if mesh.exchange.replay:
        yield "exchange.replay", list(mesh.exchange.replay), f"none in mode {mesh.mode}: captures are replayed in mode 'sim'"
    if mesh.mode == "paper":
        for venue, one in mesh.venues.items():
            if one.ws_api or one.rest_api:
                yield f"venues.{venue}", [*one.ws_api, *one.rest_api], "no ws_api, no rest_api: on paper no order leaves"
    else:
        for name in LIVE_LIMITS:
            if not getattr(mesh.risk, name):
                yield f"risk.{name}", "", f"an amount, in mode {mesh.mode}: {', '.join(LIVE_LIMITS)} bound what can be lost"


def _impossible_execution(mesh: Mesh) -> Iterator[tuple[str, object, str]]:
    """Settings of an execution style that cannot work, by what holds for each strategy."""
    for index, one in enumerate(mesh.strategies):
        strategy = resolved(one, mesh.executor)
        said, styles = strategy.execution, strategy.styles
        where = f"strategies[{index}].execution" if mesh.strategies != (StrategySettings(),) else "executor.execution"
        sliced = said.slice_style if {"twap", "pov"} & {*styles} else None
        if "sweep" in (*styles, sliced) and not said.slippage_max_bp:
            yield f"{where}.slippage_max_bp", said.slippage_max_bp, "more than 0 for the style sweep, which takes up to it"
        patience, lifetime = said.patience_ms or 0, said.lifetime_ms or 0
        if "patient" in styles and patience >= lifetime:
            yield (
                f"{where}.patience_ms",
                patience,
                f"less than lifetime_ms = {lifetime} for the style patient, or it never takes",
            )
        slices, horizon = said.slices or 1, said.horizon_ms or 0
        if "twap" in styles and sliced == "patient" and patience * slices >= horizon:
            allowed = f"less than horizon_ms ÷ slices = {horizon / slices:g} for patient parts of the style twap"
            yield f"{where}.patience_ms", patience, f"{allowed}, or they never take"


def _mixed_money(mesh: Mesh) -> Iterator[tuple[str, object, str]]:
    """Limits of money that is added up over instruments of several quote currencies, or of another one."""
    scopes: list[tuple[str, Limits, tuple[StrategySettings, ...]]] = [("risk", mesh.risk, mesh.strategies)]
    scopes += [(f"strategies[{index}]", one, (one,)) for index, one in enumerate(mesh.strategies)]
    for key, limits, strategies in scopes:
        named = [name for name in ("notional_max", "daily_loss_max", "drawdown_max") if getattr(limits, name)]
        for strategy in strategies if named else ():
            for instrument in traded_by(resolved(strategy, mesh.executor), mesh.instruments):
                if not instrument.symbol.partition("_")[0].endswith(mesh.risk.currency):
                    allowed = f"a limit of {mesh.risk.currency} (risk.currency), and {instrument.symbol} is not quoted in it"
                    yield f"{key}.{named[0]}", getattr(limits, named[0]), allowed
