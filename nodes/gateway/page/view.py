"""The page itself, of NiceGUI's elements: one view a viewer, which is given the next picture when it has the last one.

This module imports NiceGUI (30 MB, 0.7 s of CPU), so nothing but `mounting` imports it, when somebody opens the page first.
"""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from nicegui import Client, app, ui

from tickmesh.bus.operator_log import log_line
from tickmesh.nodes.gateway.actions import Action, KillSwitchAction, MeshActions, ProcessAction, StrategyAction
from tickmesh.nodes.gateway.guard import TOKEN_SHOWN
from tickmesh.nodes.gateway.page import html_tables as tables
from tickmesh.nodes.gateway.page.charts import price_chart, price_points, signal_chart, signal_points
from tickmesh.nodes.gateway.page.collecting import MarketPicture, PictureCollector, WholePicture
from tickmesh.nodes.gateway.page.mesh_rows import overview_rows
from tickmesh.nodes.gateway.problems import RequestProblem

PACE_S = 0.5  # between two pictures of a viewer
TAKEN_S = 5.0  # in which a viewer's browser has to have taken a picture, else it is asked again
RECONNECT_S = 10.0  # a viewer that is cut off for less goes on without loading the page again
HISTORY = 200  # messages that are kept for that
TITLE = "tickmesh"
MODES = {
    "sim": "local exchange, no money", "capture": "real venues, no orders", "paper": "real venues, simulated orders",
    "testnet": "a venue's test network", "live": "LIVE: real orders, real money",
}  # fmt: skip
GRID = {
    "defaultColDef": {"sortable": True, "resizable": True, "suppressMovable": True},
    "columnDefs": [
        {"field": "instrument", "filter": True, "flex": 2, "minWidth": 150},
        *({"field": name, "headerName": heading, "type": "rightAligned", "flex": 1, "minWidth": 90} for name, heading in (
            ("bid", "bid"), ("ask", "ask"), ("last", "last"), ("spread_bp", "spread, bp"), ("at", "newest, UTC"),
        )),
    ],
    ":getRowId": "params => params.data.instrument", "animateRows": False, "rowHeight": 28, "headerHeight": 30,
    "suppressCellFocus": False,
}  # fmt: skip


def build_page(
    collector: PictureCollector, actions: MeshActions, version: str
) -> tuple[FastAPI, AbstractAsyncContextManager[Any]]:
    """Builds the page's application, and what has to be entered before it is asked and left at the end."""
    parent = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @ui.page("/", title=TITLE, dark=None, language="en-US", response_timeout=10.0)
    def dashboard(request: Request, client: Client) -> None:
        DashboardView(client, collector, actions, _asker(request, actions)).build()

    app.on_exception(_log_fault)
    ui.run_with(
        parent, title=TITLE, dark=None, language="en-US", tailwind=False, binding_refresh_interval=None,
        reconnect_timeout=RECONNECT_S, message_history_length=HISTORY, gzip_middleware_factory=None, show_welcome_message=False,
        favicon="📈",
    )  # fmt: skip
    app.config.socket_io_js_transports = ["websocket"]
    return parent, parent.router.lifespan_context(parent)


def viewers() -> int:
    """How many pages are open, or were opened and have not connected yet."""
    return len(Client.instances)


def _asker(request: Request, actions: MeshActions) -> str:
    """Who asks, for the log; "" where this viewer may change nothing."""
    if not actions.enabled or not request.scope.get(TOKEN_SHOWN):
        return ""
    return f"{request.client.host if request.client else 'somebody'} on the page"


def _log_fault(error: Exception) -> None:
    log_line("gateway", "error", f"the page: {type(error).__name__}: {error}")


class DashboardView:
    """One viewer's page. `asker`: who acts here, "" where nothing may be changed."""

    def __init__(self, client: Client, collector: PictureCollector, actions: MeshActions, asker: str):
        self.client, self.collector, self.actions, self.asker = client, collector, actions, asker
        self.subject = collector.config.instruments[0].subject
        self.parts: dict[str, ui.html] = {}
        self._processes: list[str] = []
        self._kill_on: bool | None = None
        self._charted_s = 0  # of the points that the charts have
        self._grid_rows: dict[str, dict[str, Any]] = {}  # that the browser has of all instruments

    def build(self) -> None:
        """Builds the page's elements."""
        ui.add_css(Path(__file__).with_name("page.css"))
        ui.add_body_html(Path(__file__).with_name("reconnect.html").read_text())
        ui.add_body_html('<a class="skip" href="#main">Skip to the prices</a>')
        ui.colors(primary="#1d5c94", negative="#b3261e", positive="#0b6b3a")
        self.dark = ui.dark_mode(None)
        with ui.element("header").classes("mesh-top"):
            self._html("title", tag="h1").set_content(TITLE)
            self.pick = ui.select(
                self.collector.subjects() or [self.subject], value=self.subject, label="instrument", with_input=True,
                on_change=self._picked,
            ).classes("pick").props('dense outlined options-dense aria-label="instrument"')  # fmt: skip
            self._html("facts").classes("facts")
            ui.button("Light or dark", on_click=self._switch_dark, color=None).props("flat dense no-caps")
            if self.asker:
                self.kill = ui.button("Kill switch …", on_click=self._ask_kill, color="negative").props("no-caps data-act=kill")
        with ui.element("div").props('id=main tabindex="-1"'):  # NiceGUI's own page is the landmark
            self._html("quote").classes("quote-now")
            with ui.element("div").classes("panels"):
                self._build_panels()
        ui.timer(PACE_S, self._refresh)

    def _build_panels(self) -> None:
        with self._panel("price", "Price", "wide"):
            self.prices = (
                ui.echart(price_chart(self.subject))
                .classes("chart")
                .props('role=img aria-label="bid, ask, trades and our fills"')
            )
        for name, title in (
            ("depth", "Order book"), ("trades", "Trades"), ("orders", "Our orders"), ("fills", "Our fills"),
        ):  # fmt: skip
            self._text_panel(name, title)
        with self._panel("signals", "Signals"):
            self.signals = ui.echart(signal_chart()).classes("chart low").props('role=img aria-label="signals of each model"')
            self._html("signals")
        with self._panel("strategies", "Strategies and profit"):
            self._scrolling("strategies")
            self._scrolling("positions")
            if self.asker:
                self._build_strategy_actions()
        with self._panel("processes", "Processes"):
            self._scrolling("processes")
            if self.asker:
                self._build_process_actions()
            else:
                ui.html(f'<p class="quiet">{_why_read_only(self.actions)}</p>', sanitize=False)
        self._text_panel("alerts", "Alerts")
        with self._panel("coverage", "Coverage and gaps"):
            self._html("coverage")
            self._scrolling("gaps")
        self._text_panel("race", "Race of the lines")
        self._text_panel("latency", "Latency by hop")
        with self._panel("overview", "All instruments", "wide"):
            names = [{"instrument": one.subject} for one in self.collector.config.instruments]
            self.grid = (
                ui.aggrid({**GRID, "rowData": names}, auto_size_columns=False)
                .classes("overview")
                .props('aria-label="all instruments"')
            )
            self.grid.on("rowDoubleClicked", self._row_chosen, ["rowId"])

    def _panel(self, name: str, title: str, words: str = "") -> ui.element:
        section = ui.element("section").classes(f"panel {words}").props(f'data-panel={name} aria-label="{title}"')
        with section:
            ui.html(title, tag="h2", sanitize=False)
        return section

    def _text_panel(self, name: str, title: str) -> None:
        with self._panel(name, title):
            self._scrolling(name)

    def _scrolling(self, name: str) -> None:
        with ui.element("div").classes("scrolls").props(f'tabindex=0 role=region aria-label="{name}, scrolls"'):
            self._html(name)

    def _html(self, name: str, tag: str = "div") -> ui.html:
        """An element for content of html_tables, which escapes what comes from outside: the browser need not clean it."""
        self.parts[name] = ui.html("", sanitize=False, tag=tag).props(f"data-part={name}")
        return self.parts[name]

    def _build_process_actions(self) -> None:
        with ui.element("div").classes("acts"):
            self.process = (
                ui.select([], label="process")
                .props('dense outlined options-dense aria-label="process" data-act=process')
                .style("min-width:11rem")
            )
            for do in ("start", "stop", "restart"):
                ui.button(do, on_click=lambda do=do: self._act_on_process(do)).props(f"no-caps dense data-act={do}")

    def _build_strategy_actions(self) -> None:
        names = [one.name for one in self.collector.config.strategies]
        with ui.element("div").classes("acts"):
            self.strategy = (
                ui.select(names, value=names[0] if names else None, label="strategy")
                .props('dense outlined aria-label="strategy"')
                .style("min-width:9rem")
            )
            for state in ("live", "shadow", "off"):
                ui.button(state, on_click=lambda state=state: self._act_on_strategy(state)).props(
                    f"no-caps dense data-act={state}"
                )

    async def _refresh(self) -> None:
        """Shows the newest pictures, and waits until the browser has them: one that is slow is shown fewer."""
        if not self.client.has_socket_connection:
            return
        market, mesh = await self.collector.market(self.subject), await self.collector.mesh()
        self._show_mesh(mesh)
        if market.memory.subject == self.subject:
            self._show_market(market)
        try:
            await self.client.run_javascript("0", timeout=TAKEN_S)
        except TimeoutError:
            return

    def _show(self, name: str, content: str) -> None:
        self.parts[name].set_content(content)

    def _show_market(self, picture: MarketPicture) -> None:
        memory = picture.memory
        self._show("quote", _quote_words(picture.row))
        self._show("depth", tables.ladder(picture.book, picture.why_no_book))
        self._show("trades", tables.trades_table(memory.trades))
        self._show("orders", tables.orders_table(memory.orders.values()))
        self._show("fills", tables.fills_table(memory.fills))
        self._show("signals", tables.signals_table(memory.signals, picture.now_s))
        self._show("race", tables.races_table(memory.lines))
        self._show("gaps", tables.gaps_table(memory.gaps.values()))
        self._show("coverage", tables.coverage_bars(picture.coverage, picture.covered_from_s, picture.covered_to_s))
        if (second := round(picture.now_s)) != self._charted_s:
            self._charted_s = second
            self.prices.run_chart_method("setOption", price_points(memory))
            self.signals.run_chart_method("setOption", signal_points(memory))

    def _show_mesh(self, picture: WholePicture) -> None:
        self._show("title", f"{TITLE} {tables.shown(picture.source)}")
        self._show("facts", _fact_words(picture))
        self._show("processes", tables.processes_table(picture.processes, picture.supervisord))
        self._show("strategies", tables.strategies_table(picture.trading))
        self._show("positions", tables.positions_table(picture.trading))
        self._show("alerts", tables.alerts_table(picture.alerts))
        self._show("latency", tables.latency_table(picture.latency))
        rows = overview_rows(picture.instruments)
        if changed := [row for name, row in rows.items() if row != self._grid_rows.get(name)]:
            self._grid_rows = rows
            self.grid.run_grid_method("applyTransaction", {"update": changed})
        self._kill_on = (picture.trading["kill_switch"] or {}).get("on")
        if self.asker:
            self.kill.set_text("Lift the kill switch …" if self._kill_on else "Kill switch …")
            names = [one["name"] for one in picture.processes]
            if names != self._processes:
                self._processes = names
                self.process.set_options(names, value=self.process.value if self.process.value in names else None)

    async def _picked(self) -> None:
        if self.pick.value:
            self.subject, self._charted_s = self.pick.value, 0
            self.prices.run_chart_method("setOption", {"series": [{"data": []} for _ in range(5)]})
            self.signals.run_chart_method("setOption", signal_chart(), True)

    def _row_chosen(self, event: Any) -> None:
        chosen = (event.args or {}).get("rowId")
        if chosen in self.pick.options:
            self.pick.set_value(chosen)

    def _switch_dark(self) -> None:
        self.dark.value = {None: True, True: False, False: None}[self.dark.value]

    async def _act_on_process(self, do: str) -> None:
        if not self.process.value:
            ui.notify("choose a process first")
            return
        await self._act(ProcessAction(self.process.value, do))  # type: ignore[arg-type]

    async def _act_on_strategy(self, state: str) -> None:
        if self.strategy.value is not None:
            await self._act(StrategyAction(self.strategy.value, state))  # type: ignore[arg-type]

    def _ask_kill(self) -> None:
        """Asks once more before the kill switch is thrown or lifted."""
        on = not self._kill_on
        with ui.dialog().props('aria-label="kill switch"') as dialog, ui.card():
            words = "All orders are cancelled, and none is made until it is lifted." if on else "Orders are made again."
            ui.html(f"<h2>{'Throw' if on else 'Lift'} the kill switch?</h2><p>{words}</p>", sanitize=False)
            why = ui.input("why").props('aria-label="why"')

            async def confirmed() -> None:
                dialog.close()
                await self._act(KillSwitchAction(on, why.value or ""))

            with ui.row():
                ui.button("Throw it" if on else "Lift it", on_click=confirmed, color="negative").props(
                    "no-caps data-act=confirm"
                )
                ui.button("Leave it", on_click=dialog.close).props("no-caps flat")
        dialog.on("hide", dialog.delete)
        dialog.open()

    async def _act(self, action: Action) -> None:
        try:
            done = await self.actions.carry_out(action, self.asker)
        except RequestProblem as problem:
            ui.notify(problem.detail, type="negative", multi_line=True)
        else:
            ui.notify(done["done"], type="positive", multi_line=True)


def _why_read_only(actions: MeshActions) -> str:
    if actions.enabled:
        return "Nothing can be changed from here: open the address with the token, which `mesh status` prints."
    return "Nothing can be changed from here: gateway.actions is false in mesh.toml."


def _quote_words(row: dict[str, Any]) -> str:
    """The newest prices in a line."""
    words = [("bid", "good"), ("ask", "bad"), ("last", "")]
    out = [f'<span>{name} <b class="{word}" data-value="{name}">{tables.shown(row[name])}</b></span>' for name, word in words]
    out.append(f'<span>spread <b data-value="spread">{tables.shown(row["spread_bp"])}</b> bp</span>')
    age = f'<span class="{"bad" if row.get("stale") else "quiet"}">{tables.duration_text(row["age_s"])} old</span>'
    return "".join([*out, age])


def _fact_words(picture: WholePicture) -> str:
    """The mesh in a line: mode, log, disk, profit, kill switch."""
    log, disk, kill = picture.log, picture.disk, picture.trading["kill_switch"]
    behind = "" if log["durable_seq"] is None else f", on disk up to {log['durable_seq']}"
    short = disk["free_bytes"] is not None and disk["free_bytes"] < disk["low_bytes"]
    profit = picture.trading["profit"]
    out = [
        f"<span>mode <b>{tables.shown(picture.mode)}</b> ({MODES.get(picture.mode, '')})</span>",
        f'<span>log <b data-value="seq">{log["seq"]}</b>, <b data-value="rate">{log["rate"]}</b>/s{behind}</span>',
        f'<span class="{"bad" if short else ""}">disk <b>{tables.bytes_text(disk["free_bytes"])}</b> free</span>',
    ]
    if profit is not None:
        out.append(f"<span>profit <b>{profit:+.4f} {tables.shown(picture.trading['currency'])}</b></span>")
    if kill is not None:
        word, state = ("bad", "on") if kill["on"] else ("quiet", "off")
        why = f": {tables.shown(kill['why'])}" if kill["on"] and kill["why"] else ""
        out.append(f'<span class="{word}">kill switch <b data-value="kill">{state}</b>{why}</span>')
    return "".join(out)
