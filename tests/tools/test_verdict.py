"""What `mesh status` concludes of lines that have not begun: the cause once and first, and nothing of what follows from it."""

from dataclasses import replace

from tests.support.told_alerts import SECOND, told
from tickmesh.bus.config import Config
from tickmesh.bus.schema import Kind
from tickmesh.bus.settings import InstrumentSettings, Mesh
from tickmesh.bus.wire import Event, decode, encode, stamp_sent, stamp_sequenced
from tickmesh.nodes.alerts.episodes import episodes
from tickmesh.tools.log_window import LogWindow
from tickmesh.tools.status import replay_progress, silent_instruments
from tickmesh.tools.status_shown import show
from tickmesh.tools.verdict import Seen, judge

CAUSE = "its name cannot be resolved (Name or service not known): there is no network, or no name server answers"
LINES = ("feed-binance-1", "feed-kraken-1")


def beat(subject: str, **counts: object) -> Event:
    raw = encode(Kind.health, subject, {"pid": 7, **counts})
    stamp_sent(raw, b"x".ljust(32, b"\0"), 1, 9, 9 * SECOND)
    stamp_sequenced(raw, 9, 0, 9 * SECOND)
    return decode(raw)


def looked_at(tmp_path, alerts: list, *beats: str, age_s: int = 60, alive: tuple = LINES) -> Seen:
    """What is seen at second 10 of two lines that live, and of a recorder; those of `beats` have a heartbeat."""
    instruments = tuple(InstrumentSettings(*one) for one in (("A", "binance"), ("B", "binance"), ("C/USD", "kraken")))
    config = Config(Mesh(mode="capture", source="x", models=(), instruments=instruments), tmp_path)
    window = LogWindow()
    for name in ("recorder", *beats):
        window.add(beat(name))
    nodes = [
        {"name": name, "state": "RUNNING", "pid": 7, "uptime_s": age_s, "restarts_last_minute": 0, "idle": False, "lag": None,
         "heartbeat_age_s": 1.0 if name in ("recorder", *beats) else None, "restarts_left": 4,
         "memory_bytes": None}
        for name in ("recorder", *alive)
    ]  # fmt: skip
    silent = silent_instruments(config, window, alive)
    return Seen(config=config, now_ns=10 * SECOND, window=window, nodes=nodes, instruments=silent,
                episodes=episodes(alerts, {}))  # fmt: skip


def unreachable(*venues: str) -> list:
    whys = {venue: f"no answer over REST for {at} s: api.{venue}.com: {CAUSE}" for at, venue in enumerate(venues, 3)}
    return told(*(("warning", "unreachable", venue, {"why": why}) for venue, why in whys.items()))


def test_without_a_network_the_cause_is_said_once_and_first_and_nothing_that_follows(tmp_path):
    word, reasons = judge(looked_at(tmp_path, unreachable("kraken", "binance")))
    assert word == "degraded" and [(one.about, one.why) for one in reasons] == [("binance, kraken", f"unreachable: {CAUSE}")]
    _, reasons = judge(looked_at(tmp_path, unreachable("kraken"), "feed-binance-1"))
    assert [one.about for one in reasons] == ["kraken"] and "api.kraken.com" in reasons[0].why, "one alone: with its server"


def test_lines_that_begin_are_not_called_absent(tmp_path):
    seen = looked_at(tmp_path, [], age_s=2)
    word, reasons = judge(seen)
    assert word == "degraded" and [one.about for one in reasons] == ["binance", "kraken"], "once a venue, not an instrument"
    assert all("has begun yet" in one.why for one in reasons)
    late = [one.about for one in judge(looked_at(tmp_path, []))[1]]
    assert late == [*LINES, "binance", "kraken"], "no venue's answer is the cause: their silence is told of"
    _, reasons = judge(looked_at(tmp_path, [], alive=()))
    assert [one.about for one in reasons] == ["binance", "kraken"] and "no line of binance runs" in reasons[0].why


def test_a_venue_is_named_all_of_whose_lines_were_told_to_wait(tmp_path):
    seen = looked_at(tmp_path, [], *LINES)
    two = {**seen.nodes[1], "name": "feed-binance-2"}
    seen = replace(seen, nodes=[*seen.nodes, two])
    later, sooner = "2026-11-30 20:47:40Z", "2026-11-30 20:47:31Z"
    for ends, named in (((later, ""), False), ((later, sooner), True)):
        for name, end in zip(("feed-binance-1", "feed-binance-2"), ends, strict=True):
            seen.window.health[name] = beat(name, no_data_until=end)
        reasons = [one for one in judge(seen)[1] if "told to wait" in one.why]
        why = f"no market data of binance comes: told to wait until {sooner}"
        assert [(one.about, one.why) for one in reasons] == ([("binance", why)] if named else [])


def test_a_reason_is_shown_once(tmp_path, capsys):
    seen = looked_at(tmp_path, [], alive=())
    word, reasons = judge(seen)
    halted = {"instrument": "okx.D", "standing": "HALT", "why": "the venue does not trade it: HALT"}
    log = {"last_seq": 1, "rate": 1, "durable_seq": 1, "archived_seq": 0}
    show({
        "running": True, "verdict": word, "reasons": [one._asdict() for one in reasons], "nodes": seen.nodes, "topics": [],
        "memory": {"bytes": 0, "supervisord_bytes": 0, "is": "pss"},
        "instruments": [*seen.instruments, halted], "trading": None, "replay": None, "alerts": [], "disk": {"short": ""},
        "log": log, "mode": "capture", "source": "x", "session": None, "paused": [], "gateway": "http://127.0.0.1:1",
        "page": "http://127.0.0.1:1/?token=x",
    })  # fmt: skip
    shown = capsys.readouterr().out
    assert shown.count("no line of binance runs") == 1 and shown.count("okx.D: the venue does not trade it") == 1
    assert "gateway: http://127.0.0.1:1" in shown and "dashboard: http://127.0.0.1:1/?token=x" in shown


def test_what_a_process_gave_up_for_is_its_one_reason_with_file_and_line(tmp_path):
    content = {
        "level": "critical",
        "what": "model stopped",
        "target": "model-boom",
        "why": "boom.py:53: x",
        "action": "mend it",
    }
    raw = encode(Kind.alert, "model-boom", content)
    stamp_sent(raw, b"x".ljust(32, b"\0"), 1, 1, SECOND)
    stamp_sequenced(raw, 1, 0, SECOND)
    for state, alone in (("EXITED", "does not run (EXITED)"), ("HOSTED", "no heartbeat")):
        for alerts in ([], [decode(raw)]):
            seen = looked_at(tmp_path, alerts, *LINES)
            boom = {**seen.nodes[0], "name": "model-boom", "state": state, "uptime_s": None, "heartbeat_age_s": None}
            reasons = [one for one in judge(replace(seen, nodes=[*seen.nodes, boom]))[1] if one.about == "model-boom"]
            if alerts:
                assert [(one.why, one.do) for one in reasons] == [("model stopped: boom.py:53: x", "mend it")]
            else:
                assert len(reasons) == 1 and alone in reasons[0].why
                assert state == "EXITED" or reasons[0].do == "see run/logs/sequencer.log", "there its log is"


def test_what_the_capture_does_not_have_is_not_missing(tmp_path):
    config = Config(Mesh(source="x", models=(), instruments=(InstrumentSettings("A", "binance"),)), tmp_path)
    silent = ["depth.binance.A", "quote.binance.A"]
    replay = {"replay_position": 1, "replay_lines": 2, "replay_ended": 0}
    for absent, why in (([], ["depth, quote"]), (silent[:1], ["quote"]), (silent, [])):
        window = LogWindow()
        window.add(beat("feed-1", never_heard=silent))
        window.add(beat("exchange", not_in_capture=absent, **replay))
        found = [one["why"] for one in silent_instruments(config, window, ("feed-1",))]
        assert found == [f"never heard since the feed began: {one}" for one in why]
        assert replay_progress(window)["not_in_capture"] == absent
