"""The terminal screen of `mesh top`, with Textual: it looks again and again, and acts on keys, each of which is confirmed."""

import asyncio
import curses
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.filter import LineFilter, NoColor
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Static, TabbedContent, TabPane

from tickmesh.bus.config import ConfigError
from tickmesh.nodes.supervision.process_control import Change
from tickmesh.tools.terminal import Failure, JsonObject
from tickmesh.tools.top.acts import Act, kill_switch_act, process_act, strategy_act
from tickmesh.tools.top.panels import Panel, head, panels

REFRESH_S = 1.0
REST = 9  # times as long as it takes to look it rests: at most a tenth of a core, however fast the log grows
NAMES = ("Processes", "Topics", "Positions", "Orders", "Alerts")
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def has_colour() -> bool:
    """Whether this terminal has colours, by its entry in terminfo; one without an entry is taken to have."""
    try:
        curses.setupterm(fd=1)
    except curses.error:
        return True
    return curses.tigetnum("colors") >= 8


class ConfirmScreen(ModalScreen[bool]):
    """Asks a question that only the key y answers with yes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape,enter,q", "answer(False)", "No"),
    ]
    CSS = """
    ConfirmScreen { align: center middle; }
    #question { width: 66; max-width: 95%; height: auto; border: thick $warning; background: $surface; padding: 1 2; }
    """

    def __init__(self, question: str):
        super().__init__()
        self.question = question

    def compose(self) -> ComposeResult:
        """Gives its widgets."""
        yield Vertical(Static(f"{self.question}\n\ny: yes    n, Esc: no", markup=False), id="question")

    def action_answer(self, yes: bool) -> None:
        """Ends it with the answer."""
        self.dismiss(yes)


class TopScreen(App[None]):
    """The screen. `look`: gives what is shown (picture.py); it is called in a thread."""

    TITLE = "mesh top"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #head { height: auto; max-height: 6; padding: 0 1; }
    #head.trouble { text-style: bold; }
    #result { height: auto; max-height: 3; padding: 0 1; text-style: bold; }
    TabbedContent, DataTable { height: 1fr; }
    TabPane { padding: 0; }
    DataTable:nocolor > .datatable--cursor { text-style: reverse; }
    Tab:nocolor.-active { text-style: reverse; }
    ConfirmScreen:nocolor #question { border: ascii; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(place), f"panel({place})", name, show=False) for place, name in enumerate(NAMES, 1)),
        Binding("r", "process('restart')", "Restart"),
        Binding("s", "process('stop')", "Stop"),
        Binding("t", "process('start')", "Start"),
        Binding("o", "strategy('on')", "On"),
        Binding("f", "strategy('off')", "Off"),
        Binding("w", "strategy('shadow')", "Shadow"),
        Binding("k", "kill_switch", "Kill switch"),
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True),
    ]

    def __init__(self, look: Callable[[], JsonObject]):
        super().__init__()
        self.look = look
        self.picture: JsonObject | None = None
        self.acting = ""  # what is being done now
        self.no_color = self.no_color or not has_colour()

    def get_line_filters(self) -> Sequence[LineFilter]:
        """What changes lines before they are drawn: without colour none is sent, no grey either."""
        return [NoColor()] if self.no_color else super().get_line_filters()

    def compose(self) -> ComposeResult:
        """Gives its widgets."""
        yield Static("looking at the mesh …", id="head", markup=False)
        with TabbedContent(id="tabs"):
            for place, name in enumerate(NAMES, 1):
                with TabPane(f"{place} {name}", id=name.lower()):
                    yield DataTable(cursor_type="row", zebra_stripes=True, id=f"{name.lower()}-table")
        yield Static("", id="result", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Begins to look; signals end it in order, so that the terminal is what it was."""
        loop = asyncio.get_running_loop()
        for number in ENDS:
            loop.add_signal_handler(number, self.exit)
        self.run_worker(self._refresh(), name="looking")

    async def _refresh(self) -> None:
        while True:
            begun = time.monotonic()
            self.picture = await asyncio.to_thread(self.look)
            took_s = time.monotonic() - begun
            self.show_picture()
            await asyncio.sleep(max(REFRESH_S - took_s, REST * took_s))

    @property
    def panel(self) -> str:
        """The name of the panel that is shown."""
        return NAMES[[name.lower() for name in NAMES].index(self.query_one("#tabs", TabbedContent).active or "processes")]

    def show_picture(self) -> None:
        """Draws what was seen last: the head, and the panel that is shown."""
        if self.picture is None:
            return
        lines = self.screen_stack[0].query_one("#head", Static)
        text = head(self.picture)
        lines.update("\n".join(text))
        lines.set_class(len(text) > 2 or self.picture["status"] is None, "trouble")
        shown = next(one for one in panels(self.picture) if one.name == self.panel)
        self._fill(self.screen_stack[0].query_one(f"#{self.panel.lower()}-table", DataTable), shown)

    def _fill(self, table: DataTable[Text], panel: Panel) -> None:
        """Puts a panel's rows into its table; the cursor stays on what it was on."""
        columns = panel.columns if panel.rows else ("",)
        cells = [tuple(Text(cell) for cell in row.cells) for row in panel.rows] or [(Text(panel.nothing),)]
        keys = [row.key for row in panel.rows] or [""]
        if [str(one.label) for one in table.columns.values()] != list(columns):
            table.clear(columns=True)
            for name in columns:
                table.add_column(name, key=name)
        if [key.value for key in table.rows] != keys:
            at = self._key_at_cursor(table)
            table.clear()
            for key, row in zip(keys, cells):
                table.add_row(*row, key=key)
            if at in keys:
                table.move_cursor(row=keys.index(at))
            return
        for key, row in zip(keys, cells):
            for name, cell in zip(columns, row):
                if table.get_cell(key, name) != cell:
                    table.update_cell(key, name, cell, update_width=True)

    @staticmethod
    def _key_at_cursor(table: DataTable[Text]) -> str | None:
        keys = [key.value for key in table.rows]
        return keys[table.cursor_row] if 0 <= table.cursor_row < len(keys) else None

    def chosen(self) -> str | None:
        """The process or strategy in the row of the cursor; None where there is none."""
        if self.picture is None:
            return None
        key = self._key_at_cursor(self.query_one(f"#{self.panel.lower()}-table", DataTable))
        rows = next(one for one in panels(self.picture) if one.name == self.panel).rows
        row = next((one for one in rows if one.key == key), None)
        return row.subject if row is not None and (row.subject or row.key.startswith(" ")) else None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Which keys there are now: those of processes and strategies on their own panel."""
        if action == "process":
            return self.panel == "Processes"
        return self.panel == "Positions" if action == "strategy" else True

    def on_tabbed_content_tab_activated(self) -> None:
        """Draws the panel that is shown now, and lets keys go to its table."""
        self.show_picture()
        self.query_one(f"#{self.panel.lower()}-table", DataTable).focus()
        self.refresh_bindings()

    def action_panel(self, place: int) -> None:
        """Shows a panel by its number."""
        self.query_one("#tabs", TabbedContent).active = NAMES[place - 1].lower()

    def action_process(self, change: Change) -> None:
        """Starts, stops or restarts the process in the row of the cursor."""
        name = self.chosen()
        if name:
            self._ask(process_act(change, name))

    def action_strategy(self, state: Literal["on", "off", "shadow"]) -> None:
        """Switches the strategy in the row of the cursor."""
        name = self.chosen()
        if name:
            self._ask(strategy_act(name, state))

    def action_kill_switch(self) -> None:
        """Throws the kill switch, or lifts it where it is on."""
        pnl: Any = (self.picture or {}).get("pnl") or {}
        self._ask(kill_switch_act(not (pnl.get("kill_switch") or {}).get("on")))

    def _ask(self, act: Act) -> None:
        if self.acting:
            self._show_result(f"wait: {self.acting}")
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self.acting = act.question.removesuffix("?")
                self.run_worker(self._carry_out(act), name="acting")
            else:
                self._show_result("nothing was done")

        self.push_screen(ConfirmScreen(act.question), answered)

    async def _carry_out(self, act: Act) -> None:
        self._show_result(f"{self.acting} …")
        try:
            self._show_result(await asyncio.to_thread(act.carry_out))
        except (Failure, ConfigError) as error:
            self._show_result(f"not done: {error}")
        finally:
            self.acting = ""

    def _show_result(self, sentence: str) -> None:
        self.screen_stack[0].query_one("#result", Static).update(sentence)
