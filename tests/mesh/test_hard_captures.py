"""Captures that are hard on purpose, each through a mesh that records: its line in TICKMESH_DATA/hard/README.md is true."""

import gzip
import json
import os
import signal
import urllib.request

import pytest

import tests.support.mesh_run as run
from tests.support.odd_lines import ODD
from tests.support.replay_lines import FEW, line
from tickmesh.bus.schema import Flag, Kind, Reason

pytestmark = [pytest.mark.mesh, pytest.mark.data, pytest.mark.timeout(180)]

ETH = "binance.ETHUSDT"
IDS = {"trade": ("trade", "t"), "bookTicker": ("quote", "u"), "depth@100ms": ("depth", "u")}


@pytest.fixture
def hard(data):
    folder = data / "hard"
    if not folder.is_dir():
        pytest.skip(f"no hard captures in {folder} (TICKMESH_DATA)")
    return folder


def recorded(path) -> dict[tuple[str, str], list[int]]:
    """(kind, subject) → last ids in the file's order, of every line that json can read and whose id has 64 bits."""
    found: dict[tuple[str, str], list[int]] = {}
    with gzip.open(path, "rt") as file:
        for text in file:
            try:
                message = json.loads(text.partition(" ")[2])
            except (ValueError, RecursionError):
                continue
            symbol, _, stream = message.get("stream", "").partition("@")
            if stream in IDS and isinstance(message["data"], dict):
                kind, name = IDS[stream]
                if (last := message["data"][name]) < 1 << 63 and isinstance(last, int):
                    found.setdefault((kind, f"binance.{symbol.upper()}"), []).append(last)
    return found


def logged(root) -> dict[tuple[str, str], list[int]]:
    """Likewise, of what is in the log; books that feeds fetched are left out."""
    found: dict[tuple[str, str], list[int]] = {}
    for event in run.events(root, Kind.trade, Kind.quote, Kind.depth):
        if not event.flags & Flag.SNAPSHOT:
            found.setdefault((Kind(event.kind).name, event.subject), []).append(event.last_id)
    return found


def replay(make_root, path, settings: str = ""):
    """The mesh after the replay: (root, what `mesh up` said, what the file has)."""
    root = make_root(run.MARKET_ALONE + settings)
    up = run.ok_json(root, "mesh", "up", "--capture", path, "--speed", "0", "--timeout", "100")
    run.until(lambda: run.replay_ended(root), lambda: f"the capture's end\n{run.logs(root)}", 30)
    return root, up, recorded(path)


def all_there(root, expected: dict, but: dict | None = None) -> None:
    """Every id of the capture is in the log, once, except those in `but`."""
    wanted = {key: sorted(set(ids) - set((but or {}).get(key, ()))) for key, ids in expected.items()}

    def same() -> bool:
        found = logged(root)
        return all(sorted(found.get(key, [])) == ids for key, ids in wanted.items())

    def lacks() -> str:
        found = logged(root)
        return str({key: sorted(set(ids) ^ set(found.get(key, [])))[:10] for key, ids in wanted.items()}) + run.logs(root)

    run.until(same, lacks, 20)


def coverage(root, kind: str, subject: str = ETH) -> list[dict]:
    answer = json.loads(run.command(root, "mesh", "coverage", subject, "--kind", kind, "--json").stdout)
    return [row for stream in answer["streams"] for row in stream["intervals"]]


def gaps(root, kind: Kind) -> list:
    rows = [row for event in run.events(root, Kind.gap) if event.subject == ETH for row in event.records]
    return [row for row in rows if row["stream"] == kind]


def ask(root, path: str) -> dict:
    where = json.loads((root / "run/exchange.json").read_text())["rest"]
    with urllib.request.urlopen(where + path, timeout=10) as answer:
        return json.load(answer)


def replay_line(root) -> dict:
    """What `mesh status` says of the replay, once it has ended: health is said every second."""
    return run.until(lambda: (at := run.status(root)["replay"]) and at["ended"] and at, "status says that it ended", 15)


@pytest.mark.parametrize("name", ["x3_depth_u_jump", "x4_quote_u_jump"])
def test_one_absurd_id_is_refused_and_said_and_the_stream_goes_on(make_root, hard, name):
    root, up, expected = replay(make_root, hard / f"{name}.gz")
    kind = Kind.depth if name.startswith("x3") else Kind.quote
    absurd = max(expected[kind.name, ETH])
    assert up["capture"]["not_served"] == {} and up["capture"]["lines"] == 4005, "it is served as it is"
    all_there(root, expected, {(kind.name, ETH): [absurd]})
    refusals = [event.map() for event in run.events(root, Kind.refusal)]
    assert any(str(absurd) in one["why"] and one["raw"] for one in refusals), refusals
    assert Reason.contradiction in {row["reason"] for row in gaps(root, kind)}, "a gap says so"
    assert not any(row["last_id"] >= absurd for row in coverage(root, kind.name)), "nothing reaches up to the absurd id"
    book = ask(root, "/api/v3/depth?symbol=ETHUSDT")
    assert book["lastUpdateId"] == max(set(expected["depth", ETH]) - {absurd}), "the exchange's own book has gone on"


def test_a_hole_in_a_capture_is_said_and_all_beside_it_is_in_the_log(make_root, hard):
    root, _, expected = replay(make_root, hard / "h1_hole100.gz")
    all_there(root, expected)
    assert len(gaps(root, Kind.depth)) > 0 and len(gaps(root, Kind.trade)) > 0
    states = [row["state"] for row in coverage(root, "depth")]
    assert "missing" in states or "unproven" in states, states


def test_depth_without_a_snapshot_outlives_both_feeds(make_root, hard):
    """Killed before they could have given anything away; what each socket brought is in the log all the same."""
    root, up, expected = replay(make_root, hard / "ke_no_snapshot_kill.gz")
    assert up["capture"]["snapshots"] == 0
    for name in ("feed-binance-1", "feed-binance-2"):
        os.kill(run.ready(root, name)["pid"], signal.SIGKILL)
    all_there(root, expected)
    rows = coverage(root, "depth")
    assert rows and {(row["state"], row["reason"]) for row in rows} == {("unproven", "no_snapshot")}, rows


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ja_quote_u_1e23", "a field of the wrong type, or beyond its bounds"),
        ("jc_deep_nesting", "nested too deeply"),
    ],
)
def test_a_line_that_nobody_can_read_is_one_line(make_root, hard, name, reason):
    root, up, expected = replay(make_root, hard / f"{name}.gz")
    all_there(root, expected)
    assert up["capture"]["not_served"] == {reason: 1} and f"{reason}: " in up["capture"]["first"][reason]
    at = replay_line(root)
    assert (at["position"], at["lines"], at["not_served"]) == (3006, 3006, {reason: 1})
    assert f"1 of its lines were not served: {reason}" in (root / "run/logs/exchange.log").read_text()
    assert len({event.map()["pid"] for event in run.events(root, Kind.health) if event.subject == "exchange"}) == 1


def test_a_symbol_that_begins_late_is_recorded_whole(make_root, hard):
    root, up, expected = replay(make_root, hard / "ka_second_symbol_after_2000_lines.gz")
    assert up["capture"]["symbols"] == ["ETHUSDT", "NEXOUSDT"] and up["capture"]["unit"] == "ns/µs"
    assert sum(subject == "binance.NEXOUSDT" for _, subject in expected) == 3
    all_there(root, expected)


def test_trades_that_are_joined_are_refused_at_once(make_root, hard):
    root = make_root()
    up = run.command(root, "mesh", "up", "--capture", hard / "kc_aggtrade_only.gz", "--speed", "0", timeout=20)
    assert up.returncode == 1 and "ETHUSDT are recorded as @aggTrade only" in up.stderr, up.stderr
    assert not (root / "run/supervisord.pid").exists() and not list((root / "data").glob("replay*"))


def test_futures_of_coins_are_refused_for_what_they_are(make_root, data):
    root = make_root()
    up = run.command(root, "mesh", "up", "--capture", data / "hftbacktest/cm/btcusd_perp_20240808.gz", timeout=60)
    assert up.returncode == 1 and "a frame of COIN-M futures" in up.stderr and "spot or USD-M futures" in up.stderr, up.stderr
    assert not (root / "run/supervisord.pid").exists()


def test_odd_lines_cost_only_themselves_and_a_replay_that_is_over_is_up(make_root, tmp_path):
    """A capture of a few lines, over before anybody looks, with times that jump, in ms, with depth under another name."""
    lines = [line(message) for message in FEW]
    lines = [text.replace("@depth@100ms", "@depth") for text in lines]
    lines[2:2] = ODD.values()
    lines = [f"{text[:13]}{text[19:]}" if text[:19].isascii() and text[:19].isdigit() else text for text in lines]
    lines[1] = "9" * 13 + lines[1][13:]
    path = tmp_path / "odd.dat"
    path.write_bytes("".join(f"{text}\n" for text in lines).encode(errors="surrogateescape"))
    root = make_root(run.MARKET_ALONE)
    up = run.ok_json(root, "mesh", "up", "--capture", path, "--speed", "1", "--timeout", "100")
    assert sum(up["capture"]["not_served"].values()) == len(ODD) and set(up["rates"]) == {"trade", "quote", "depth"}
    assert up["capture"]["streams"]["btcusdt@depth"] == 3 and up["capture"]["unit"] == "ms"
    run.until(lambda: run.replay_ended(root), lambda: f"the capture's end\n{run.logs(root)}", 30)
    subject = "binance.BTCUSDT"
    all_there(root, {("trade", subject): [1, 2], ("quote", subject): [10, 12], ("depth", subject): [10, 12, 13]})
    assert replay_line(root)["not_served"] == up["capture"]["not_served"]
