"""`mesh init`: writes a mesh.toml in which every line is explained, from flags or from questions on a terminal.

A mesh is a folder of its user, and the program is elsewhere: a checkout, or a wheel in an environment. What else it needs is
laid by tools/laying.py. Nothing that somebody wrote is lost: a file that is replaced stays as mesh.toml.old.
"""

import shlex
import sys
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import msgspec
import typer

from tickmesh.bus.config import Config, ConfigError, load
from tickmesh.bus.files import write_file
from tickmesh.bus.settings import LOCAL_VENUES, ORDER_VENUES, REAL_ORDERS, InstrumentSettings, Mesh
from tickmesh.nodes.venues.parsing.names import nearest, squeezed
from tickmesh.nodes.venues.table import adapter_of
from tickmesh.tools.laying import lay, made
from tickmesh.tools.running import running_processes
from tickmesh.tools.sources import recording, source_of
from tickmesh.tools.terminal import Failure, JsonObject, UsageFailure, err, out
from tickmesh.tools.wanted import OFFERED, VenueAnswer, Wanted, ask, chosen, names_of, paired

WIDTH = 34  # where comments begin
SHOWN = 6  # names on one line

HEAD = """\
# Settings of this mesh, written by `mesh init`. What stands with a # before it is the default, or an example of what may stand
# there; an unknown key is an error that lists the known ones. Meanings and reasons of all: bus/settings.py.
"""
CAPTURE = """
# [feed]
# lines = 2                       # connections to each venue, on each of which everything comes; the first arrival wins
# raw = false                     # true: every frame is kept as it came, too (about twice the disk)

# [venues.{venue}]
# ws = ["{ws}"]
# rest = ["{rest}"]
# ca = "proxy.crt"                # certificates to trust beside the system's, where a proxy stands between

# [recorder]
# recent_hours = 4.0              # what stays in the recent store, beside the archive

# [disk]
# prune = "never"                 # "exported": sealed days that `mesh export` has are removed when the disk fills

# [log]
# format = "human"                # lines in run/logs; or "json", one object a line
"""
REAL = """
[executor]                        # who orders
{sizes}

[risk]                            # these three have to be stated
{limits}

[session]                         # who speaks to the venue
key_file = "key.toml"             # mode 0600: api_key, and secret (HMAC) or private_key (Ed25519); "": from the environment

# Which strategies, and in which way: [[strategies]], docs/strategies.md. Without [[models]] two examples trade, which earn
# nothing and pay fees: put your own in their place, or nothing is sent with [[strategies]] state = "shadow" (docs/trading.md).
"""
PAPER = """
# Models, the executor and [[strategies]] are as in mode sim; the first instrument is traded (docs/trading.md).
# [executor]
{traded} # what is traded: of binance, of binance_usdm
# order_notional = "60"           # of the quote currency; BTCUSDT of binance_usdm takes no less than 100

# [risk]                          # the same as it would be with money
# notional_max = "2000"
# daily_loss_max = "50"

# [exchange]                      # where orders are filled: on paper, here
# balances = {{ USDT = "10000" }}   # what the account of spot begins with
# usdm_wallet = "10000"           # and that of futures
# queue = "risk_averse"           # how a resting order moves up in its queue; or "probability_power", "probability_log"
# entry_ms = 5.0                  # how long an order takes to the venue
# response_ms = 5.0               # and the answer back
# fees = "spot"                   # the venue's schedule; of futures it is so: usdm_maker_fee_ppm, usdm_taker_fee_ppm

# [venues.{venue}]
# ws = ["{ws}"]
# rest = ["{rest}"]
"""
SIM = """
# Nodes that the sequencer's process runs itself: fewest hops, least latency, least isolation. Compare both in README.md.
# host = ["feed-1", "model", "executor", "session"]

# A model of your own, beside the two that run anyhow, imbalance (book_imbalance) and flow (trade_flow); those go with
# `default_models = false` above all tables. Try its file first: mesh check-model models/spread.py
# Signals of every model are traded, its own too; [[strategies]] with models = ["imbalance"] choose (docs/strategies.md).
# [[models]]
# name = "spread"                 # process model-spread
# kernel = "spread"               # models/spread.py, or a shipped one (docs/research.md), or live_features (docs/features.md)
# instruments = ["*"]             # venue.symbol or patterns like "binance.*": a state of its own for each

# [executor]
# instruments = ["binance.*"]     # what is traded; without it the first of the instruments, and no other
# order_notional = "60"           # of the quote currency; or order_quantity = "0.001" of the base
# position_notional = "600"       # or position_max = "0.01"; neither: ten orders
# signal_threshold = 0.6

# Several [[strategies]], each with models, sizes and limits of its own, and limits of all of them: docs/strategies.md
# [risk]                          # of all together
# notional_max = "2000"           # beyond it no order is made
# daily_loss_max = "50"           # beyond it the kill switch is on

# [[notify]]                      # who is told of alerts, and of what: docs/alerts.md; try it: mesh alert test
# name = "desk"
# to = "webhook"                  # or "command", or "apprise" (mail, Telegram, Slack …)
# url = "https://hooks.example.com/x"

# [exchange]                      # the local venue
# seed = 1
# trades_per_s = 20.0

# [paths]
# models = "models"               # kernels of your own; data = "…", at the top of this file, is the folder of what is recorded

# [log]
# format = "human"                # lines in run/logs; or "json", one object a line
# sync_ms = 50                    # what a power cut may cost
"""


def init(
    venues: Sequence[str], lists: Sequence[str], mode: str | None, source: str, force: bool, folder: Path | None = None
) -> JsonObject:
    """Writes mesh.toml into `folder` (or here); gives what `--json` prints. Without a venue it asks, on a terminal.

    A folder alone, or mode sim, is the local exchange's market where nobody can be asked. Raises Failure, and then nothing
    was written.
    """
    root = Path.cwd() if folder is None else made(folder)
    if (root / "run").is_dir() and running_processes(root) is not None:
        raise Failure(
            "the mesh of this folder is up, and its processes read mesh.toml: edit mesh.toml, and `mesh reload` applies it "
            "while data flows; or `mesh down` first, for a new one"
        )
    replaces = _replaced(root / "mesh.toml")
    if venues or lists:
        mode = mode or "capture"
        wanted = paired(venues, lists)
        answers = _asked(wanted, mode)
        instruments = chosen(answers)
    elif (folder is not None or mode == "sim") and mode in (None, "sim") and not sys.stdin.isatty():
        mode, instruments, answers = "sim", list(Mesh().instruments), []
    elif sys.stdin.isatty() and err.is_terminal:
        mode, instruments, source = _questions(mode or "capture", source)
        answers = []
        if replaces and not force:
            force = typer.confirm("mesh.toml has settings of its own. Replace it (it stays as mesh.toml.old)?", err=True)
    else:
        raise UsageFailure("which venue? Give --venue and --instruments, or call it on a terminal, where it asks")
    source = source or source_of(mode, (one.venue for one in instruments))
    text = text_of(mode, source, instruments)
    kept = _write(root / "mesh.toml", text, replaces, force)
    return {
        "file": str(root / "mesh.toml"),
        "mode": mode,
        "source": source,
        "instruments": [one.subject for one in instruments],
        "kept": kept,
        "laid": lay(root),
        "unasked": {answer.venue: answer.unasked for answer in answers if answer.unasked},
        "halted": {f"{a.venue}.{symbol}": word for a in answers for symbol, word in a.halted.items()},
    }


def text_of(mode: str, source: str, instruments: Sequence[InstrumentSettings]) -> str:
    """The content of mesh.toml: short, every line explained."""
    meant = {
        "capture": 'real venues are recorded: no account, no orders; "sim": the local exchange\'s market',
        "sim": 'the local exchange\'s market, with orders; "capture": real venues are recorded',
        "paper": "real venues' data; orders are filled here, against their live book: no account, no money",
        "testnet": "data and orders of Binance's testnet: a key of it, no money",
        "live": "real venues' data, and orders with REAL MONEY: docs/trading.md before `mesh up --live`",
    }
    lines = [
        HEAD,
        _explained(f'mode = "{mode}"', meant[mode]),
        _explained(f'source = "{source}"', f"everything goes into data/{source}: one folder for each source of market"),
        "",
        "# What is captured, by the venue's own names; tick and lot sizes come from its definitions.",
        "instruments = [",
        *(f'    {{ venue = "{one.venue}", symbol = "{one.symbol}" }},' for one in instruments),
        "]",
    ]
    if mode == "sim":
        return "\n".join(lines) + "\n" + SIM
    adapter = adapter_of(instruments[0].venue)
    if mode in REAL_ORDERS:
        return "\n".join(lines) + "\n" + _real(instruments)
    if mode == "paper":
        traded = f"{'# instruments = [' + _patterns(instruments) + ']':<{WIDTH - 1}}"
        return (
            "\n".join(lines) + "\n" + PAPER.format(traded=traded, venue=adapter.VENUE, ws=adapter.WS[0], rest=adapter.REST[0])
        )
    none = _explained("models = []", 'no signals; or [{ name = "imbalance", kernel = "book_imbalance" }]: docs/research.md')
    return "\n".join((*lines, "", none)) + "\n" + CAPTURE.format(venue=adapter.VENUE, ws=adapter.WS[0], rest=adapter.REST[0])


def _real(instruments: Sequence[InstrumentSettings]) -> str:
    """The rest of the file for real orders: small ones, which the venue takes all the same (USD-M's least is higher)."""
    traded = _traded(instruments)
    order, most, total, loss = ("20", "50", "200", "10") if traded == [ORDER_VENUES[0]] else ("120", "250", "500", "20")
    sizes = [
        _explained(f"instruments = [{_patterns(instruments)}]", f"what is traded; orders go to {' and '.join(traded)}"),
        _explained(f'order_notional = "{order}"', "of the quote currency, each order; the venue has a least"),
    ]
    limits = [
        _explained(f'order_notional_max = "{most}"', "of one order"),
        _explained(f'notional_max = "{total}"', "of all positions, long or short, added up; beyond it no order is made"),
        _explained(f'daily_loss_max = "{loss}"', "beyond it the kill switch is on"),
    ]
    return REAL.format(sizes="\n".join(sizes), limits="\n".join(limits))


def _traded(instruments: Sequence[InstrumentSettings]) -> list[str]:
    """The venues of instruments that orders can go to; the first that there is where they are of none."""
    return [venue for venue in ORDER_VENUES if any(one.venue == venue for one in instruments)] or list(ORDER_VENUES[:1])


def _patterns(instruments: Sequence[InstrumentSettings]) -> str:
    return ", ".join(f'"{venue}.*"' for venue in _traded(instruments))


def _explained(setting: str, comment: str) -> str:
    return f"{setting:<{WIDTH - 1}} # {comment}"


def _replaced(path: Path) -> bool:
    """Whether there is a mesh.toml with settings of its own: not the shipped one, in which everything is as by default."""
    if not path.exists():
        return False
    try:
        return msgspec.convert(msgspec.toml.decode(path.read_bytes()), Mesh) != Mesh()
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return True
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}") from None


def _write(path: Path, text: str, replaces: bool, force: bool) -> str:
    """Writes mesh.toml; gives the name under which what was there is kept, "" where nothing was or it is the same."""
    before = path.read_bytes() if path.exists() else b""
    if before == text.encode():
        return ""
    if replaces and not force:
        raise Failure(
            f"{path} has settings of its own, which would be replaced: give --force, and it stays as mesh.toml.old; "
            "or write the instruments into it by hand"
        )
    kept = next(name for n in count(1) if not (name := path.with_name(f"mesh.toml.old{f'.{n}' if n > 1 else ''}")).exists())
    try:
        if before:
            write_file(kept, before)
        write_file(path, text.encode())
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}") from None
    return kept.name if before else ""


def _asked(wanted: Wanted, mode: str) -> list[VenueAnswer]:
    """What the venues say of the wanted names; of the local exchange's market everything that is asked for is there."""
    if mode == "sim":
        if elsewhere := sorted(set(wanted) - set(LOCAL_VENUES)):
            speaks = " and ".join(LOCAL_VENUES)
            raise UsageFailure(f"the local exchange speaks as {speaks}: mode sim has no instruments of {', '.join(elsewhere)}")
        return [VenueAnswer(venue, [adapter_of(venue).spell(name) for name in names]) for venue, names in wanted.items()]
    return ask(_asking_config(), wanted)


def _asking_config() -> Config:
    """Settings to ask a venue with: addresses of the mesh.toml that is there, if it can be read; else the adapter's."""
    choice = recording("asking", [InstrumentSettings("BTCUSDT")])
    try:
        return load(Path.cwd(), overrides=choice)
    except ConfigError:
        return Config(msgspec.convert(choice, Mesh), Path.cwd())


# The questions.


def _questions(mode: str, source: str) -> tuple[str, list[InstrumentSettings], str]:
    """(mode, instruments, source) by questions on the terminal."""
    err.print("mesh init: which market is it to be? Enter takes what stands in brackets.")
    what = "capture: record real venues; paper: and fill orders here; sim: the local exchange's market"
    mode = _choice(what, ("capture", "paper", "sim") if mode not in REAL_ORDERS else (mode,), mode)
    instruments: list[InstrumentSettings] = []
    while True:
        venue = _choice(f"venue ({', '.join(OFFERED)})", OFFERED, "binance") if mode != "sim" else LOCAL_VENUES[0]
        instruments += [one for one in _instruments(venue, mode) if one not in instruments]
        if mode == "sim" or not typer.confirm("another venue?", default=False, err=True):
            break
    usual = source or source_of(mode, (one.venue for one in instruments))
    return mode, instruments, str(typer.prompt("name of the folder under data/", default=usual, err=True))


def _instruments(venue: str, mode: str) -> list[InstrumentSettings]:
    names, unasked = names_of(_asking_config(), venue) if mode != "sim" else ([], "")
    if unasked:
        err.print(f"{venue} cannot be asked which it has: {unasked}. Names are taken as they are.", markup=False)
    elif names:
        err.print(f"{venue} has {len(names)} instruments; the beginning of a name shows those near it.")
    spell = adapter_of(venue).spell
    by_letters = {squeezed(name): name for name in names}
    while True:
        text = str(typer.prompt("instruments, separated by commas", default=f"{spell('BTCUSDT')},{spell('ETHUSDT')}", err=True))
        spelled = [spell(name) for name in text.split(",") if name.strip()]
        wanted = [name if name in names else by_letters.get(squeezed(name), name) for name in spelled]
        missing = [name for name in wanted if names and name not in names]
        if wanted and not missing:
            return [InstrumentSettings(symbol, venue) for symbol in dict.fromkeys(wanted)]
        for name in missing:
            near = ", ".join(nearest(name, names)) or "nothing like it"
            err.print(f"  {venue} has no {name}; there is {near}", markup=False)


def _choice(question: str, choices: tuple[str, ...], usual: str) -> str:
    while True:
        answer = str(typer.prompt(question, default=usual, err=True)).strip().lower()
        if answer in choices:
            return answer
        err.print(f"  {answer!r} is none of {', '.join(choices)}", markup=False)


def show(result: JsonObject) -> None:
    """Prints for a person what was written."""
    names = result["instruments"]
    what = ", ".join(names) if len(names) <= SHOWN else f"{len(names)} instruments ({', '.join(names[:SHOWN])} …)"
    out.print(f"Wrote {result['file']}: mode {result['mode']}, {what}, into data/{result['source']}.", markup=False)
    if result["kept"]:
        out.print(f"What was there is kept as {result['kept']}.")
    if result["laid"]:
        out.print(f"Laid beside it: {', '.join(result['laid'])} (of {sys.prefix}).", markup=False)
    for venue, why in result["unasked"].items():
        out.print(f"Names were not checked: {venue} cannot be asked: {why}.", markup=False)
    for subject, word in result["halted"].items():
        out.print(f"{subject} is not traded now: the venue says {word}.", markup=False)
    here = Path(result["file"]).parent
    out.print(
        "Next: `mesh up`." if here == Path.cwd() else f"Next: cd {shlex.quote(str(here))} && .venv/bin/mesh up", markup=False
    )
