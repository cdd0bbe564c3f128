"""30 seconds cut out of the NEXO day: from one of two lines, from both, and from the venue's memory too."""

import gzip
import json
import urllib.request
from itertools import takewhile

import pytest

import tests.support.mesh_run as run
from tickmesh.bus.schema import Flag, GapState, Kind
from tickmesh.tools.judge import exchange_ledger
from tickmesh.tools.judge.findings import Findings

pytestmark = [pytest.mark.mesh, pytest.mark.data, pytest.mark.timeout(600)]

NEXO = ("hftbt_playground/raw/spot/nexousdt_20240723.dat.gz", "hftbt_playground/raw/spot/nexousdt_20240724.dat.gz")
WINDOW_MS = 30_000
JSON = {"Content-Type": "application/json"}
TRADES_MIN = 5  # a window with so many trades is worth cutting
SETTINGS = run.MARKET_ALONE + '[exchange]\nfaults = "faults.json"\n'
PATIENT = "[log]\nhold_ms = 30000\n"  # a line may be seconds behind the other on a busy machine, as no venue's would be


def captured(data, files=NEXO) -> list[tuple[int, dict]]:
    """(receive time in ms, trade) of every trade of the captures."""
    rows = []
    for name in files:
        with gzip.open(data / name, "rt") as file:
            for line in file:
                if '"e":"trade"' in line:
                    stamp, _, text = line.partition(" ")
                    rows.append((int(stamp) // 1000, json.loads(text)["data"]))
    return rows


def window(trades, after_ms=3_600_000) -> tuple[int, int]:
    """The first 30 s stretch with enough trades, so long after the beginning."""
    at = [stamp for stamp, _ in trades if stamp > trades[0][0] + after_ms]
    begin = next(a for a, b in zip(at, at[TRADES_MIN:]) if b - a < WINDOW_MS - 1000)
    return begin - 1, begin - 1 + WINDOW_MS


def replayed(make_root, data, faults: list[dict], files=NEXO, speed=0, then=lambda root: None, more=""):
    """The mesh after the whole capture has passed with these faults, down again; and the judge's verdict."""
    root = make_root(SETTINGS + more)
    (root / "faults.json").write_text(json.dumps({"faults": faults}))
    captures = [data / name for name in files]
    run.ok(root, "mesh", "up", "--capture", *captures, "--speed", speed)
    then(root)
    run.until(lambda: run.replay_ended(root), lambda: f"the capture's end\n{run.logs(root)}", 240)
    last = max(row["t"] for _, row in captured(data, files))
    run.until(
        lambda: any(event.last_id == last for event in run.events(root, Kind.trade)) and not still_open(root),
        lambda: f"all is in the log, and every gap decided\n{run.logs(root)}", 90,
    )  # fmt: skip
    run.ok(root, "mesh", "down")
    done = run.command(root, "mesh", "verify", "--against", *captures, "--json")
    return root, json.loads(done.stdout)


def told(verdict) -> str:
    return f"{verdict['faults']} {verdict['sentences']}"


def still_open(root) -> set[int]:
    open_ids: set[int] = set()
    for event in run.events(root, Kind.gap):
        for record in event.records:
            ids = set(range(int(record["first_id"]), int(record["last_id"]) + 1)) if record["stream"] == Kind.trade else set()
            open_ids = open_ids | ids if record["state"] == GapState.open else open_ids - ids
    return open_ids


def ids_in(trades, low_ms, high_ms) -> set[int]:
    return {row["t"] for stamp, row in trades if low_ms <= stamp < high_ms}


def repaired(root) -> set[int]:
    return {int(e.records["trade_id"][0]) for e in run.events(root, Kind.trade) if e.flags & Flag.REPAIRED}


def test_a_window_cut_from_one_line_leaves_nothing_to_see(make_root, data):
    """The first of the two files, at a pace at which 30 s of the market are longer than one line is behind the other.

    As fast as the machine can, they are 10 ms; and a quote that comes after a later one is no news: their ids have holes.
    """
    trades = captured(data, NEXO[:1])
    low, high = window(trades, 600_000)
    root, verdict = replayed(make_root, data, [], NEXO[:1], 40, lambda root: cut_one_line(root, low, high), PATIENT)
    assert verdict["ok"] and verdict["lost"] == verdict["different"] == verdict["out_of_order"] == 0, told(verdict)
    assert verdict["trades"] == len(trades) and not repaired(root)
    assert len(ids_in(trades, low, high)) >= TRADES_MIN and withheld(root) >= TRADES_MIN
    assert not run.events(root, Kind.gap), "the other line had it all"


def cut_one_line(root, low, high):
    """Commanded when it is known which connection is a feed's: orders have one, too."""
    where = json.loads((root / "run/exchange.json").read_text())["rest"] + "/tickmesh/v1/faults"
    with urllib.request.urlopen(where) as answer:
        feeds = [one["connection"] for one in json.loads(answer.read())["connections"] if one["streams"]]
    fault = {"kind": "skip", "connection": min(feeds), "from_ms": low, "to_ms": high}
    with urllib.request.urlopen(urllib.request.Request(where, json.dumps(fault).encode(), JSON, method="POST")) as answer:
        assert answer.status == 200


def withheld(root) -> int:
    """Frames that the exchange did not send, by its own ledger."""
    findings = Findings()
    return sum(row[1] == "frame" for row in exchange_ledger.read_rows(run.config_of(root).exchange_dir, findings))


def until_ms(path, end_ms: int, target):
    """The lines of a capture up to a time, in a file of their own."""
    with gzip.open(path, "rt") as lines, gzip.open(target, "wt", 1) as out:
        out.writelines(takewhile(lambda line: int(line.partition(" ")[0]) // 1000 <= end_ms, lines))
    return target


def test_of_two_windows_cut_from_both_lines_the_one_that_the_venue_still_has_is_repaired(make_root, data, tmp_path):
    """The earlier one it has forgotten: exactly those ids are missing. The later one is fetched over REST, and flagged.

    Of the capture's 24 hours the first four and what follows the later window for ten minutes.
    """
    whole = captured(data)
    gone, there = window(whole), window(whole, 4 * 3_600_000)
    files = (NEXO[0], until_ms(data / NEXO[1], there[1] + 600_000, tmp_path / "four_hours.dat.gz"))
    trades = captured(data, files)
    end_ms = max(row["T"] for stamp, row in trades if gone[0] <= stamp < gone[1]) + 1
    faults = [{"kind": "skip", "stream": "*@trade", "from_ms": low, "to_ms": high} for low, high in (gone, there)]
    root, verdict = replayed(make_root, data, [*faults, {"kind": "forget", "to_ms": end_ms}], files)
    lost, fetched = ids_in(trades, *gone), ids_in(trades, *there)
    assert min(len(lost), len(fetched)) >= TRADES_MIN
    assert repaired(root) == fetched
    assert verdict["lost"] == len(lost) and set(verdict["faults"]) == {"lost"}, told(verdict)
    assert verdict["trades"] == len(trades) - len(lost) and verdict["different"] == 0
    missing = set()
    for event in run.events(root, Kind.gap):
        for record in event.records:
            if record["state"] == GapState.unrecoverable and record["stream"] == Kind.trade:
                missing |= set(range(int(record["first_id"]), int(record["last_id"]) + 1))
    assert missing == lost
    shown = run.ok_json(root, "mesh", "coverage", "--kind", "trade")["streams"][0]
    assert shown["ids"]["missing"] == len(lost) and shown["ids"]["repaired"] == len(fetched), "the ledger says the same"
