"""Faults, as decisions: which frame is treated how, to whom, since when, until when, and what the ledger is told."""

import json

import pytest

from tickmesh.nodes.exchange.faults.fault_plan import KINDS, FaultError, PlannedFault, read_faults, read_schedule
from tickmesh.nodes.exchange.faults.faults import FAULTS_MAX, Faults
from tickmesh.nodes.exchange.faults.hooks import IncomingRequest
from tickmesh.nodes.exchange.faults.tampering import payload_of, text_frame

QUOTE = text_frame(b'{"u":7,"s":"BTCUSDT","b":"1.0","B":"2.0","a":"3.0","A":"4.0"}')


class Client:
    """What a fault sees of a connection."""

    def __init__(self, number: int, *streams: str, user: bool = False):
        self.number, self.streams, self.has_user_stream, self.dead = number, {name: name for name in streams}, user, False
        self.wire = b""

    def write(self, frame: bytes) -> None:
        self.wire += frame


class Scene:
    def __init__(self):
        self.now = 1000.0
        self.rows: list[tuple] = []
        self.cut: list[Client] = []
        self.faults = Faults(lambda: self.now, lambda *row: self.rows.append(row), self.cut.append)

    def plan(self, **fields) -> int:
        number = self.faults.add(PlannedFault(**fields).check())
        self.faults.tick()
        return number

    def send(self, client: Client, *frames: bytes, stream: str = "btcusdt@trade") -> bytes:
        """What is on the client's wire after these frames."""
        before = len(client.wire)
        for frame in frames:
            if self.faults.on_send(client, stream, frame):
                client.write(frame)
        return client.wire[before:]

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.faults.tick()

    def frames(self, what: str) -> list[tuple]:
        return [row[1:] for row in self.rows if row[0] == "frame" and row[4] == what]


def frame(n: int) -> bytes:
    return text_frame(b'{"t":%d}' % n)


def test_without_faults_every_frame_goes_out_as_it_is():
    scene, client = Scene(), Client(1)
    assert scene.send(client, frame(1), frame(2)) == frame(1) + frame(2)
    assert scene.rows == []


def test_a_fault_begins_and_ends_in_time_and_touches_only_its_target():
    scene, one, two = Scene(), Client(1), Client(2)
    scene.plan(kind="skip", start_s=1.0, length_s=2.0, connection=1, stream="*@trade")
    assert scene.send(one, frame(1)) == frame(1)
    scene.wait(1.0)
    assert scene.send(one, frame(2)) == b""
    assert scene.send(two, frame(2)) == frame(2)
    assert scene.send(one, QUOTE, stream="btcusdt@bookTicker") == QUOTE
    scene.wait(2.0)
    assert scene.send(one, frame(3)) == frame(3)
    assert scene.frames("dropped") == [(1, 1, "btcusdt@trade", "dropped", '{"t":2}')]
    assert [row[2] for row in scene.rows if row[0] == "fault"] == ["added", "started", "ended"]


def test_a_fault_ends_on_command():
    scene, client = Scene(), Client(1)
    number = scene.plan(kind="skip")
    assert scene.send(client, frame(1)) == b""
    assert scene.faults.end(number)
    scene.faults.tick()
    assert scene.send(client, frame(2)) == frame(2)
    assert not scene.faults.end(number)
    assert not scene.faults.busy


def test_a_fault_that_is_ended_before_it_starts_never_starts():
    scene, client = Scene(), Client(1)
    number = scene.plan(kind="skip", start_s=5)
    scene.faults.end(number)
    scene.wait(6)
    assert scene.send(client, frame(1)) == frame(1)
    assert scene.faults.view()[0]["state"] == "ended"


def test_probability_and_seed_decide_the_same_way_every_time():
    def run(seed: int) -> bytes:
        scene, client = Scene(), Client(1)
        scene.plan(kind="skip", probability=0.5, seed=seed)
        return scene.send(client, *(frame(n) for n in range(100)))

    assert run(1) == run(1) != run(2)
    assert 25 < run(1).count(b"\x81") < 75


def test_duplicate_sends_a_frame_twice_and_reorder_after_the_next_one():
    scene, client = Scene(), Client(1)
    number = scene.plan(kind="duplicate")
    assert scene.send(client, frame(1)) == frame(1) + frame(1)
    scene.faults.end(number)
    scene.plan(kind="reorder")
    assert scene.send(client, frame(2), frame(3), frame(4)) == frame(3) + frame(2)
    before = len(client.wire)
    scene.wait(1.5)
    assert client.wire[before:] == frame(4), "what waits for a next frame does not wait for ever"
    assert [row[-1] for row in scene.frames("late")] == ['{"t":2}', '{"t":4}']
    assert [row[-1] for row in scene.frames("repeated")] == ['{"t":1}']


def test_absurd_ids_never_come_two_in_a_row_on_a_connection():
    scene, one, two = Scene(), Client(1), Client(2)
    scene.plan(kind="jump", by=100, times=3)
    assert scene.send(one, *map(frame, range(1, 6))) == b"".join(map(frame, (101, 2, 103, 4, 105)))
    assert scene.send(two, frame(1)) == frame(1), "three times in all"
    scene.plan(kind="jump", by=100)
    assert scene.send(one, frame(6)) == frame(6) and scene.send(two, frame(2)) == frame(102)
    assert [row[-1] for row in scene.frames("altered")] == [f'{{"t":{n}}}' for n in (1, 3, 5, 2)]


def test_delay_keeps_the_order_even_across_its_end():
    scene, client = Scene(), Client(1)
    scene.plan(kind="delay", length_s=1.0, delay_ms=500)
    assert scene.send(client, frame(1), frame(2)) == b""
    scene.now += 0.9
    assert scene.send(client, frame(3)) == b""
    scene.faults.tick()
    assert client.wire == frame(1) + frame(2)
    scene.wait(0.2)
    assert scene.send(client, frame(4)) == b"", "a later frame does not overtake"
    scene.now += 0.4
    assert scene.send(client, frame(5)) == b"", "not even when what is before it is due, and not sent yet"
    scene.wait(0.1)
    assert client.wire == b"".join(frame(n) for n in range(1, 6))
    assert scene.send(client, frame(6)) == frame(6)


@pytest.mark.parametrize("kind", ["garbage", "truncate"])
def test_garbage_and_truncate_make_frames_that_are_no_json(kind):
    scene, client = Scene(), Client(1)
    scene.plan(kind=kind)
    sent = scene.send(client, frame(123456))
    assert len(payload_of(sent)) > 0 and payload_of(sent).decode()
    with pytest.raises(ValueError):
        json.loads(payload_of(sent))
    assert scene.frames("altered") == [(1, 1, "btcusdt@trade", "altered", '{"t":123456}')]


def test_torn_sends_half_a_frame_and_cuts():
    scene, client = Scene(), Client(1)
    scene.plan(kind="torn")
    assert scene.send(client, frame(1)) == frame(1)[: len(frame(1)) // 2]
    assert scene.cut == [client]


def test_crossed_exchanges_the_sides_and_stale_repeats_the_first():
    scene, client = Scene(), Client(1)
    number = scene.plan(kind="crossed")
    crossed = json.loads(payload_of(scene.send(client, QUOTE, stream="btcusdt@bookTicker")))
    assert (crossed["b"], crossed["B"], crossed["a"], crossed["A"], crossed["u"]) == ("3.0", "4.0", "1.0", "2.0", 7)
    depth = text_frame(b'{"stream":"btcusdt@depth","data":{"U":1,"u":2,"b":[["1","2"]],"a":[["3","4"]]}}')
    data = json.loads(payload_of(scene.send(client, depth, stream="btcusdt@depth")))["data"]
    assert data["b"] == [["3", "4"]] and data["a"] == [["1", "2"]]
    scene.faults.end(number)
    scene.plan(kind="stale")
    assert scene.send(client, frame(1), frame(2), frame(3)) == frame(1) * 3
    assert [row[-1] for row in scene.frames("altered")][2:] == ['{"t":2}', '{"t":3}']


def test_stall_sends_nothing_at_all_and_drip_sends_slowly():
    scene, one, two = Scene(), Client(1), Client(2)
    scene.plan(kind="stall", length_s=1.0, connection=1)
    assert scene.send(one, frame(1)) == b"" and scene.send(one, b"\x89\x00", stream="ping") == b""
    assert scene.send(two, frame(1)) == frame(1)
    scene.wait(1.0)
    scene.plan(kind="drip", length_s=10.0, connection=1, bytes_per_s=10)
    assert scene.send(one, frame(2), frame(3)) == b""
    scene.wait(0.5)
    assert one.wire == (frame(2) + frame(3))[:5]
    scene.wait(20.0)
    assert one.wire == frame(2) + frame(3)
    assert scene.send(one, frame(4)) == frame(4)
    assert [row[-1] for row in scene.frames("dropped")] == ['{"t":1}', ""]


def test_a_backlog_that_drips_is_bounded():
    scene, client = Scene(), Client(1)
    scene.faults.connection_bytes_max = 1000
    scene.plan(kind="drip", bytes_per_s=1)
    scene.send(client, *(frame(n) for n in range(200)))
    assert client in scene.cut


def test_cut_takes_those_that_are_open_and_those_that_open():
    scene, one, two = Scene(), Client(1, "btcusdt@trade"), Client(2, user=True)
    number = scene.faults.add(PlannedFault(kind="cut", length_s=1.0, stream="user"))
    (change,) = scene.faults.tick()
    scene.faults.cut_all(change.planned, [one, two])
    assert scene.cut == [two]
    scene.faults.opened(Client(3, user=True), "/ws-api/v3")
    assert [c.number for c in scene.cut] == [2, 3]
    assert ("client", 3, "cut", f"fault {number}") in scene.rows


def test_the_clock_jumps_and_drifts_until_the_end():
    scene = Scene()
    scene.plan(kind="clock", length_s=10.0, offset_ms=5000, skew_ppm=1000)
    assert scene.faults.skew_ms == pytest.approx(5000)
    scene.wait(2.0)
    assert scene.faults.skew_ms == pytest.approx(5002)
    scene.wait(8.0)
    assert scene.faults.skew_ms == 0


def test_a_refuse_fault_is_about_handshakes_unless_it_names_an_endpoint():
    scene = Scene()
    number = scene.plan(kind="refuse")
    assert scene.faults.on_request(IncomingRequest("ws", "/ws", "127.0.0.1")).cut
    assert scene.faults.on_request(IncomingRequest("rest", "GET /api/v3/time", "127.0.0.1")) is None
    scene.faults.end(number)
    scene.plan(kind="refuse", endpoint="GET *", status=503)
    assert scene.faults.on_request(IncomingRequest("rest", "GET /api/v3/time", "127.0.0.1")).status == 503
    assert scene.faults.on_request(IncomingRequest("ws", "/ws", "127.0.0.1")) is None
    assert [row[0] for row in scene.rows if row[0] == "request"] == ["request"] * 2


def test_an_answer_fault_has_the_venues_code_and_message():
    scene = Scene()
    get = IncomingRequest("rest", "GET /api/v3/depth", "127.0.0.1")
    for fields, status, code in (
        ({"status": 429, "retry_after_s": 7}, 429, -1003), ({"status": 418}, 418, -1003),
        ({"status": 500, "code": -1000, "message": "x"}, 500, -1000),
    ):  # fmt: skip
        number = scene.plan(kind="answer", **fields)
        answer = scene.faults.on_request(get)
        assert (answer.status, json.loads(answer.body)["code"], answer.execute) == (status, code, False)
        scene.faults.end(number)
        scene.faults.tick()
    scene.plan(kind="answer", status=502, html=True)
    answer = scene.faults.on_request(get)
    assert answer.content_type == "text/html" and b"<h1>502 Bad Gateway</h1>" in answer.body


@pytest.mark.parametrize("kind, execute", [("timeout_before", False), ("timeout_after", True)])
def test_timeout_faults_are_about_orders(kind, execute):
    scene = Scene()
    scene.plan(kind=kind, delay_ms=20, code=-1006)
    place = IncomingRequest("ws-api", "order.place", "127.0.0.1", Client(4))
    answer = scene.faults.on_request(place)
    assert answer.execute is execute and answer.delay_s == 0.02 and json.loads(answer.body)["code"] == -1006
    assert scene.faults.on_request(IncomingRequest("rest", "GET /api/v3/order", "127.0.0.1")) is None
    row = scene.rows[-1]
    assert row == ("request", 1, 4, "ws-api", "order.place", "executed" if execute else "ignored", 504)
    placed = IncomingRequest("rest", "POST /api/v3/orderList/otoco", "127.0.0.1")
    assert scene.faults.on_request(placed).execute is execute


def test_a_closed_connection_leaves_nothing_behind():
    scene, client = Scene(), Client(1)
    scene.plan(kind="reorder", stream="btcusdt@*")
    scene.plan(kind="delay", stream="x@y")
    scene.send(client, frame(1))
    scene.send(client, frame(2), stream="x@y")
    scene.faults.closed(client)
    scene.wait(5)
    assert client.wire == b""


def test_schedules_are_read_and_what_is_wrong_is_a_sentence():
    toml = b'[[faults]]\nkind = "skip"\nstart_s = 3\nstream = "user"\n[[faults]]\nkind = "outage"\nlength_s = 5\n'
    assert [fault.kind for fault in read_schedule(toml, "a.toml")] == ["skip", "outage"]
    assert read_schedule(b'{"faults":[{"kind":"cut"}]}', "a.json") == [PlannedFault(kind="cut")]
    for body, words in (
        (b'{"kind":"explode"}', "kinds: cut, shutdown, refuse"), (b'{"kind":"cut","when":1}', "fields: kind, start_s"),
        (b'{"kind":"cut","probability":2}', "allowed: 0 to 1"), (b"not json", "JSON"),
        (b'{"kind":"answer","status":200}', "400 to 599"),
    ):  # fmt: skip
        with pytest.raises(FaultError, match=words):
            read_faults(body)
    with pytest.raises(FaultError, match="b.toml"):
        read_schedule(b"[[faults", "b.toml")


def test_there_is_a_bound_on_what_is_planned():
    scene = Scene()
    for _ in range(FAULTS_MAX):
        scene.plan(kind="skip", start_s=50)
    with pytest.raises(FaultError, match="planned already"):
        scene.plan(kind="skip")


def test_every_kind_is_explained():
    for kind in KINDS:
        PlannedFault(kind=kind).check()
