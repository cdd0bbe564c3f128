"""tickmesh: an entry-level high-frequency trading mesh for crypto venues. `tickmesh.open()` opens what was recorded."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tickmesh.research.backtest.running import backtest as backtest
    from tickmesh.research.compare.running import compare as compare
    from tickmesh.research.joining import asof as asof
    from tickmesh.research.joining import check_no_lookahead as check_no_lookahead
    from tickmesh.research.opening import open as open
    from tickmesh.research.plot.plotting import plot as plot
    from tickmesh.research.sweep.running import sweep as sweep
    from tickmesh.research.sweep.running import sweep_bars as sweep_bars

_FACADE = {  # imported when first asked for: the mesh's processes need none of it
    "asof": "tickmesh.research.joining",
    "backtest": "tickmesh.research.backtest.running",
    "check_no_lookahead": "tickmesh.research.joining",
    "compare": "tickmesh.research.compare.running",
    "open": "tickmesh.research.opening",
    "plot": "tickmesh.research.plot.plotting",
    "sweep": "tickmesh.research.sweep.running",
    "sweep_bars": "tickmesh.research.sweep.running",
}


def __getattr__(name: str) -> Any:
    if name in _FACADE:
        from importlib import import_module

        return getattr(import_module(_FACADE[name]), name)
    raise AttributeError(f"module 'tickmesh' has no attribute {name!r}; it has {', '.join(_FACADE)}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_FACADE])
