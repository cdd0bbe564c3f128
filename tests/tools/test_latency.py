"""`mesh latency`: of what was recorded, for so long of what comes, interrupted, and as a picture."""

import itertools
import json

import pytest

from tests.support.command_run import mesh_here
from tests.support.stored import Market, write_log
from tickmesh.bus.config import load
from tickmesh.tools import latency
from tickmesh.tools.event_streams import LogSpan, span_of
from tickmesh.tools.terminal import UsageFailure

MESH = '[[instruments]]\nsymbol = "BTCUSDT"\n[[instruments]]\nsymbol = "ETHUSDT"\n'


@pytest.fixture
def recorded(root):
    """Trades of two instruments and other events of 100 ms; each trade was received 1,090 µs before its place in the log."""
    (root / "mesh.toml").write_text(MESH)
    write_log(load(root).log_dir, Market().mixed(100))
    return root


def test_hops_of_what_was_recorded(recorded):
    result = json.loads(mesh_here(recorded, "latency", "--from", "1", "--json").stdout)
    feed, to_log = result["hops"][1:3]
    assert (feed["hop"], feed["count"], feed["p50_us"], feed["max_us"]) == ("feed: read, appended, sent", 70, 1058.816, 1060.0)
    assert (to_log["count"], to_log["least_us"], to_log["histogram"]["counts"][:3]) == (80, 30.0, [0, 80, 0])
    assert result["events"] == 80
    of_eth = json.loads(mesh_here(recorded, "latency", "ETHUSDT", "--from", "11", "--until", "50", "--json").stdout)
    assert of_eth["events"] == 4 == of_eth["hops"][1]["count"]
    shown = mesh_here(recorded, "latency", "--from", "1").stdout
    rows = [line.split() for line in shown.splitlines()]
    assert ["market", "data", "→", "log", "80", *["30"] * 5, "█"] in rows and "  16 µs … 64 µs  ███" in shown


def test_what_cannot_be_answered_is_a_sentence(recorded):
    for words, code, sentence in (
        ([], 1, "`mesh up` starts it"),
        (["--from", "1", "--plot", "x.gif"], 2, "a picture ends with .png"),
        (["frob", "--from", "1"], 2, "there is no topic 'frob'"),
        (["ETHUSDT", "--from", "5", "--until", "7"], 1, "nothing of ETHUSDT was recorded there"),
    ):
        done = mesh_here(recorded, "latency", *words)
        assert done.returncode == code and sentence in done.stderr, words
    assert [latency.length_s(text) for text in ("10s", "2m", "1500ms")] == [10, 120, 1.5]
    for text in ("10", "s", "-1s", "3 days"):
        with pytest.raises(UsageFailure, match="--for"):
            latency.length_s(text)


def test_watching_ends_in_time_also_where_nothing_comes_and_a_ctrl_c_keeps_what_was_seen(recorded, capsys):
    config = load(recorded)
    live = LogSpan(None, 0, None, None, False)
    assert not any(latency._until(iter(lambda: [], None), config, live, 0.02))
    events = list(latency.wanted_events(config, latency.KINDS, lambda _: True, span_of(config, "1", "now", False)))

    def interrupted():
        yield from events
        raise KeyboardInterrupt

    counts = {name: latency.LatencyCounts() for name in latency.HOPS}
    assert latency._count(interrupted(), counts)[2] == sum(map(len, events)) and "interrupted" in capsys.readouterr().err
    with pytest.raises(KeyboardInterrupt):
        latency._count(itertools.islice(interrupted(), len(events), None), counts)


def test_a_picture_has_a_line_for_each_hop(recorded, tmp_path):
    path = tmp_path / "hops.svg"
    assert mesh_here(recorded, "latency", "--from", "1", "--plot", str(path)).returncode == 0
    assert path.read_text().count("<!-- ") > 3 and "<!-- market data → log -->" in path.read_text()
