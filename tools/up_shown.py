"""How `mesh up` looks to a person."""

from collections.abc import Sequence

from tickmesh.tools import recording, reload
from tickmesh.tools.gateway_address import gateway_url, page_url
from tickmesh.tools.seen import seen_sentence
from tickmesh.tools.status_shown import MODES
from tickmesh.tools.terminal import JsonObject, err, out
from tickmesh.tools.wanted import VenueAnswer


def show(result: JsonObject) -> None:
    """Prints for a person that the mesh is up, and what to do next."""
    if "seen" in result:
        recording.show(result)
        _show_next(
            ("quote", "depth") if any(row["first_s"] for row in result["seen"]) else (), "`mesh up` with the same options"
        )
        return
    if result["already"]:
        out.print(f"tickmesh is up already, source {result['source']}.")
        reload.show(result)
        return
    out.print(f"tickmesh is up after {result['seconds']} s, source {result['source']}.")
    out.print(MODES[result["mode"]], style="bold")
    out.print(seen_sentence(result["rates"], result["counts"]), markup=False)
    for subject, why in result["not_trading"].items():
        hint = "" if subject == "all" else " (executor.order_notional, order_quantity, position_max)"
        out.print(f"The executor cannot trade {subject}: {why}{hint}", style="bold", markup=False)
    for one in result["instruments"]:
        out.print(f"{one['instrument']}: {one['why']}", style="bold", markup=False)
    _show_next(("quote", "signal", "fill …"), "`mesh up`")


def _show_next(topics: Sequence[str], again: str) -> None:
    """Prints commands to go on with; `topics`: some that there are, `again`: the command that goes on after a stop."""
    look = (".venv/bin/tap trade", f"trades as they come (tap {', tap '.join(topics)}; --rate for rates)")
    url = gateway_url()
    page = [(page_url(), "the dashboard, in a browser (docs/dashboard.md)")] if url else []
    address = [(f"curl {url}/v1/trades", "the newest trades for programs, as JSON (docs/gateway.md)")] if url else []
    out.print("Next:")
    for command, what in (
        *page,
        look if topics else (".venv/bin/tap alert", "alerts as they come"),
        *address,
        (".venv/bin/mesh status", "processes and topics"),
        (".venv/bin/supervisorctl -c supervisor.conf status", "start, stop, restart single processes"),
        (".venv/bin/mesh verify", "log, recent store and archive, checked against each other"),
        (".venv/bin/mesh down", f"stop; {again} goes on where it was"),
    ):
        out.print(f"  {command:<52} {what}")


def show_answers(answers: Sequence[VenueAnswer]) -> None:
    """Prints for a person what venues said before anything was started: on stderr, so that `--json` is alone on stdout."""
    for answer in answers:
        if answer.unasked:
            err.print(f"{answer.venue} cannot be asked for its instruments: {answer.unasked}.", style="bold", markup=False)
            err.print(f"  Recording begins without that check, of {', '.join(answer.symbols)}.", markup=False)
        for symbol, word in answer.halted.items():
            err.print(f"{answer.venue}.{symbol} is not traded now: the venue says {word}.", style="bold", markup=False)
