"""Options of the page's charts, as ECharts takes them: prices with our fills, and signals. No I/O."""

from typing import Any

from tickmesh.nodes.gateway.page.market_memory import SECOND_NS, MarketMemory

Options = dict[str, Any]
BID, ASK, TRADE, BUY, SELL, GRAY = (
    "#1f9d63",
    "#d9534f",
    "#3b82c4",
    "#0b8a4b",
    "#c62f2b",
    "#808a94",
)  # seen on white and on black
LINE: Options = {"type": "line", "showSymbol": False, "step": "end", "lineStyle": {"width": 1.5}}
MODELS = ("#3b82c4", "#c77d0a", "#8e5bd0", "#1f9d63", "#d9534f")


def _axes() -> Options:
    line = {"lineStyle": {"color": GRAY}}
    text = {"color": GRAY}
    return {
        "xAxis": {"type": "time", "axisLine": line, "axisLabel": {**text, "hideOverlap": True}},
        "yAxis": {
            "type": "value", "scale": True, "axisLabel": text, "splitLine": {"lineStyle": {"color": GRAY, "opacity": 0.25}},
        },
        "grid": {"left": 8, "right": 8, "top": 36, "bottom": 8, "containLabel": True},
        "legend": {"textStyle": text, "top": 0, "type": "scroll"}, "tooltip": {"trigger": "axis"}, "animation": False,
        "backgroundColor": "transparent",
    }  # fmt: skip


def price_chart(subject: str) -> Options:
    """The price chart without its points: bid, ask, trades, and our fills as marks."""
    lines = [
        {"name": name, **LINE, "itemStyle": {"color": color}, "data": []}
        for name, color in (("bid", BID), ("ask", ASK))
    ]  # fmt: skip
    marks = [
        {
            "name": name, "type": "scatter", "symbol": symbol, "symbolSize": size, "symbolRotate": turn, "data": [],
            "itemStyle": {"color": color},
        }
        for name, symbol, size, turn, color in (
            ("trade", "circle", 3, 0, TRADE), ("our buy", "triangle", 11, 0, BUY), ("our sell", "triangle", 11, 180, SELL),
        )
    ]  # fmt: skip
    return {**_axes(), "series": [*lines, *marks], "aria": {"enabled": True, "label": {"description": f"prices of {subject}"}}}


def price_points(memory: MarketMemory) -> Options:
    """The points of the price chart, in the order of `price_chart`'s series."""
    first_s = memory.seconds[0][0] if memory.seconds else 0.0
    times = [(row[0] or 0) * 1000 for row in memory.seconds]
    columns = [[[at, row[place]] for at, row in zip(times, memory.seconds) if row[place]] for place in (1, 2, 3)]
    fills: dict[str, list[list[float]]] = {"buy": [], "sell": []}
    for one in memory.fills:
        if one["seq_ns"] / SECOND_NS >= (first_s or 0):
            fills.setdefault(one["side"], []).append([one["seq_ns"] // 1_000_000, float(one["price"])])
    return {"series": [{"data": points} for points in (*columns, fills["buy"], fills["sell"])]}


def signal_chart() -> Options:
    """The chart of signals without its points: of each model from -1 to 1."""
    axes = _axes()
    axes["yAxis"] |= {"min": -1, "max": 1}
    return {**axes, "series": [], "aria": {"enabled": True, "label": {"description": "signals of each model"}}}


def signal_points(memory: MarketMemory) -> Options:
    """The points of the signals' chart, one series a model."""
    return {
        "series": [
            {
                "id": model, "name": model, **LINE,
                "itemStyle": {"color": MODELS[number % len(MODELS)]},
                "data": list(values),
            }
            for number, (model, values) in enumerate(sorted(memory.signal_values.items()))
        ]
    }  # fmt: skip
