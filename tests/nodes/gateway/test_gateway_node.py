"""The gateway as a process: streams that miss nothing, clients that are slow or hostile, its end and its return."""

import contextlib
import json
import os
import random
import socket
import stat
import threading
import time
from urllib.parse import quote

import msgpack
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.gateway_scene import GatewayProcess, LiveLog, logged
from tests.support.mesh_run import until
from tests.support.page_blocks import blocks, commands
from tests.support.stored import START, Market
from tickmesh.bus.schema import Kind
from tickmesh.nodes.process_table import NODES

SETTINGS = "[gateway]\nslow_s = 1.5\nkind_bytes = 65536\nrequests_per_s = 100000.0\ncore_share = 1.0\nnice = 0\n"
BOOK = [(100 + level, 5 + level, 1) for level in range(30)] + [(200 + level, 7 + level, -1) for level in range(30)]


class Scene:
    """A gateway, the log that it follows, and the market that is written into it."""

    def __init__(self, root):
        (root / "mesh.toml").write_text(SETTINGS)
        self.market, self.log = Market(seq_ns=START), LiveLog(root)
        self.log.publish([self.market.instrument(), self.market.depth(BOOK, 1, snapshot=True), *self.market.mixed(500)])
        self.gateway = GatewayProcess(root)

    def end(self):
        if self.gateway.process.poll() is None:
            self.gateway.end()
        self.log.close()


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    scene = Scene(tmp_path_factory.mktemp("gateway"))
    yield scene
    scene.end()


class RandomClient:
    """Follows some topics by streams and by pages, each for a moment, cut off in any way; keeps the seqs that it is given."""

    QUERY = "topics=trade,health.feed-1"

    def __init__(self, gateway, seed):
        self.gateway, self.rng = gateway, random.Random(seed)
        self.seen: list[int] = []
        self.seq = 0

    def take(self, answer) -> None:
        self.seen += [event["seq"] for event in answer["events"]]
        assert answer["seq"] >= self.seq
        self.seq = answer["seq"]

    def page(self, limit: int) -> None:
        self.take(self.gateway.json(f"/v1/events?{self.QUERY}&after={self.seq}&limit={limit}"))

    def stream(self, messages: int, killed: bool = False) -> None:
        """Reads so many messages, and goes: with a close frame, without one, or since the gateway is killed."""
        form, decode = self.rng.choice((("json", json.loads), ("msgpack", msgpack.unpackb)))
        with self.gateway.stream(f"{self.QUERY}&after={self.seq}&format={form}") as stream:
            first = decode(stream.recv(timeout=20))
            assert first["seq"] == self.seq and first["events"] == [] and len(first["log_id"]) == 16
            for _ in range(messages):
                self.take(decode(stream.recv(timeout=20)))
            if killed:
                self.gateway.kill()
                with pytest.raises(ConnectionClosed):
                    while True:
                        self.take(decode(stream.recv(timeout=20)))
            elif self.rng.random() < 0.5:
                stream.socket.shutdown(socket.SHUT_RDWR)

    def finish(self, last: int) -> None:
        while self.seq < last:
            self.page(5000)


def follow_at_random(scene, seconds: float) -> None:
    """While the log grows, a client comes and goes for so long; halfway the gateway is killed, its memory with it."""
    stop, client, port = threading.Event(), RandomClient(scene.gateway, 15), scene.gateway.address["port"]

    def write() -> None:
        while not stop.is_set():
            scene.log.publish(scene.market.mixed(15))
            time.sleep(0.02)

    writer = threading.Thread(target=write)
    writer.start()
    begun, kills = time.monotonic(), 0
    try:
        while (passed := time.monotonic() - begun) < seconds:
            if kills == 0 and passed > seconds / 2:
                kills += 1
                client.stream(1, killed=True)
                scene.gateway.start()
                assert scene.gateway.address["port"] == port, "clients find it where it was"
            elif client.rng.random() < 0.4:
                client.page(client.rng.choice((1, 7, 100, 5000)))
            else:
                client.stream(client.rng.randint(1, 4))
    finally:
        stop.set()
        writer.join()
    until(lambda: scene.gateway.json("/v1/status")["log"]["last_seq"] == scene.market.seq, "it has come in")
    client.finish(scene.market.seq)
    wanted = [event.seq for event in logged(scene.gateway.root) if event.kind == Kind.trade or event.topic == "health.feed-1"]
    assert client.seen == wanted and len(wanted) > 300 and kills == 1


def test_a_client_that_reconnects_at_random_misses_nothing_and_sees_nothing_twice(scene):
    follow_at_random(scene, 6)


@pytest.mark.long
def test_a_client_that_reconnects_at_random_for_a_minute_misses_nothing(tmp_path):
    scene = Scene(tmp_path)
    try:
        follow_at_random(scene, 60)
    finally:
        scene.end()


def test_pages_go_on_exactly_while_the_log_grows(scene):
    path, seen = "/v1/trades?after=0&limit=37", []
    for _ in range(60):
        page = scene.gateway.json(path)
        seen += [event["seq"] for event in page["events"]]
        path = page["next"]
        scene.log.publish(scene.market.mixed(7))
    seen += [event["seq"] for event in scene.gateway.pages(path)]
    until(lambda: scene.gateway.json("/v1/status")["log"]["last_seq"] == scene.market.seq, "it has come in")
    seen += [event["seq"] for event in scene.gateway.pages(f"/v1/trades?after={seen[-1]}")]
    assert seen == [event.seq for event in logged(scene.gateway.root) if event.kind == Kind.trade]


def test_an_answer_has_all_that_is_in_the_log_when_it_is_asked_though_nobody_follows(scene):
    for _ in range(5):
        scene.log.publish(scene.market.mixed(3))
        assert scene.gateway.json("/v1/status")["log"]["last_seq"] == scene.market.seq


def test_the_book_is_that_of_all_its_events_and_moves_on(scene):
    """Levels change, go and come, a gap ends the book, a snapshot begins the next."""
    kept: dict[tuple[str, int], int] = {}

    def publish(levels, last_id, snapshot=False):
        scene.log.publish([scene.market.depth(levels, last_id, snapshot=snapshot)])
        for price, lots, side in levels:
            kept["bid" if side == 1 else "ask", price] = lots

    def compare(valid=True):
        until(lambda: scene.gateway.json("/v1/status")["log"]["last_seq"] == scene.market.seq, "it has come in")
        book = scene.gateway.json("/v1/books?instrument=BTCUSDT&levels=10000")
        wanted = {place: lots for place, lots in kept.items() if lots} if valid else {}
        levels = {(side, one["price_ticks"]): one["quantity_lots"] for side in ("bid", "ask") for one in book[f"{side}s"]}
        assert levels == wanted and book["valid"] is valid and book["seq"] == scene.market.seq
        assert [one["price_ticks"] for one in book["bids"]] == sorted((p for s, p in wanted if s == "bid"), reverse=True)
        assert [one["price_ticks"] for one in book["asks"]] == sorted(p for s, p in wanted if s == "ask")

    publish(BOOK, 10**9, snapshot=True)
    compare()
    for change in range(5):
        publish([(100 + change, change, 1), (150 + change, 9, -1)], 10**9 + 1 + change)
        compare()
    assert len(scene.gateway.json("/v1/books?instrument=BTCUSDT&levels=3")["bids"]) == 3
    scene.log.publish([scene.market.gap(Kind.depth)])
    compare(valid=False)
    kept.clear()
    publish(BOOK[3:40], 10**9 + 50, snapshot=True)
    compare()


def test_the_examples_of_the_page_are_answered(scene):
    """Every `curl` of docs/gateway.md, asked as it stands there."""
    asked = [words for block in blocks("bash") if block.page == "docs/gateway.md" for words in commands(block)]
    assert len(asked) > 5
    for words in asked:
        headers = dict([words[words.index("-H") + 1].split(": ")]) if "-H" in words else {}
        (path,) = (word.removeprefix("$URL") for word in words if word.startswith("$URL"))
        status, answered, body = scene.gateway.request(path.replace("[", "%5B"), headers)
        assert status == 200, (words, body)
        assert answered["content-type"] == headers.get("Accept", "application/json")
        if not headers:
            assert json.loads(body)


HERE = "127.0.0.1:1"  # any port: who comes through a tunnel has another one


@pytest.mark.parametrize(
    ("headers", "status", "words"),
    [
        ({"Host": "evil.example"}, 421, "is not this server"),
        ({"Host": "127.0.0.1.evil.example:80"}, 421, "is not this server"),
        ({"Host": HERE, "Origin": "http://evil.example"}, 403, "another site"),
        ({"Host": HERE, "Origin": "null"}, 403, "another site"),
        ({"Host": HERE, "Origin": "http://127.0.0.1:2"}, 403, "another site"),
        ({"Host": HERE, "Sec-Fetch-Site": "cross-site"}, 403, "Sec-Fetch-Site"),
        ({"Host": HERE, "X-Forwarded-For": "10.0.0.1"}, 401, "needs the token"),
        ({"Host": HERE, "Authorization": "Bearer wrong"}, 401, "another one"),
        ({"Host": HERE, "Authorization": "Basic eDp5"}, 401, "another one"),
    ],
)
def test_who_may_not_ask_is_refused_with_a_sentence(scene, headers, status, words):
    seen, answered, body = scene.gateway.request("/v1/status", headers)
    assert (seen, answered["content-type"]) == (status, "application/problem+json") and words in json.loads(body)["detail"]
    host = headers["Host"]
    more = {name: value for name, value in headers.items() if name not in ("Host", "Origin")}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    handshake = f"GET /v1/stream HTTP/1.1\r\n{lines}Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    answer = scene.gateway.raw(f"{handshake}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), (host, more, answer)


def test_who_may_ask_is_answered_with_secure_headers(scene):
    token = scene.gateway.token
    for headers in (
        {"Host": HERE, "Origin": f"http://{HERE}", "Sec-Fetch-Site": "same-origin"},
        {"Host": "localhost"},
        {"Host": HERE, "X-Forwarded-For": "10.0.0.1", "Authorization": f"Bearer {token}"},
    ):
        status, answered, _ = scene.gateway.request("/v1/status", headers)
        assert status == 200
        assert "default-src 'none'" in answered["content-security-policy"] and answered["cache-control"] == "no-store"
        assert answered["x-content-type-options"] == "nosniff" and answered["referrer-policy"] == "no-referrer"
        assert "server" not in answered and "access-control-allow-origin" not in answered
    path = scene.gateway.config.run_dir / "gateway.token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and len(token) == 43


def test_odd_requests_are_refused(scene):
    gateway = scene.gateway
    assert gateway.request("/v1/trades", method="POST", body=b"x")[0] == 405
    assert gateway.request("/v1/trades", body=b"[" * 100_000)[0] == 413
    assert gateway.request(f"/v1/trades?instrument={'a' * 5000}")[0] == 414
    for path in ("/../../etc/passwd", "/v1/../run/gateway.token", "/%2e%2e/run/gateway.token", "//etc/passwd", "/run", "/docs"):
        assert gateway.request(path)[0] == 404, path
    assert gateway.raw(b"GET / HTTP/1.1\r\n" + b"x: " + b"y" * 40_000).startswith(b"HTTP/1.1 400 ")
    two = f"GET /v1 HTTP/1.1\r\nHost: {HERE}\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n"
    assert gateway.raw(two.encode()).startswith(b"HTTP/1.1 400 ")
    begun = time.monotonic()
    assert gateway.raw(b"GET /v1 HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ") == b"" and time.monotonic() - begun < 10, "slow headers"
    for query, words in (
        ("topics=nothing", 404),
        ("after=99999999", 422),
        ("form=json", 422),
        ("after=x", 422),
        ("topics=raw", 404),
    ):
        with pytest.raises(InvalidStatus) as refused:
            gateway.stream(query).close()
        assert refused.value.response.status_code == words


def test_what_would_fill_the_memory_is_refused_and_does_not(scene):
    """Many bodies, deep JSON in bodies and in what is asked for, endless headers, half requests: memory stays what it was."""
    gateway = scene.gateway
    deep = b"[" * 200_000

    def ask_all() -> None:
        assert gateway.request("/v1/trades", method="POST", body=deep)[0] == 405
        assert gateway.request("/v1/trades", {"Content-Type": "application/json"}, body=deep)[0] == 413
        assert gateway.raw(b"GET /v1 HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n") != b""
        endless = b"".join(b"X-%d: y\r\n" % one for one in range(20_000))
        assert gateway.raw(b"GET /v1 HTTP/1.1\r\n" + endless)[:13] == b"HTTP/1.1 400 "
        status, _, body = gateway.request(f"/v1/trades?instrument={quote('[' * 600)}&start={quote('{' * 300)}")
        assert status == 422 and len(body) < 2000, "what was asked is not given back at length"
        assert gateway.request("/v1/trades", {"Accept": ",".join(["*/*;q=0.1"] * 1500)})[0] == 200

    ask_all()  # what is loaded when it is asked for first stays
    before = gateway.memory_bytes()
    slow = []
    for _ in range(40):
        sock = socket.create_connection(("127.0.0.1", gateway.address["port"]), timeout=20)
        sock.sendall(b"GET /v1 HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Part: " + b"y" * 1000)
        slow.append(sock)
    for _ in range(20):
        ask_all()
    for sock in slow:
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(1) == b"", "who sends a request so slowly is cut"
        sock.close()
    until(lambda: gateway.json("/v1/status")["gateway"]["connections"] <= 2, "their connections are gone")
    assert gateway.memory_bytes() - before < 10 << 20


def test_a_stream_of_what_does_not_come_says_how_far_the_log_has_come(scene):
    """And the one event that does come is given, between many of other kinds."""
    with scene.gateway.stream("topics=alert") as stream:
        seq = json.loads(stream.recv(timeout=20))["seq"]
        for _ in range(3):
            scene.log.publish(scene.market.mixed(5))
            message = json.loads(stream.recv(timeout=20))
            assert message["events"] == [] and seq < message["seq"] <= scene.market.seq
            seq = message["seq"]
        scene.log.publish([*scene.market.mixed(3), scene.market.event(Kind.alert, "sentinel-1", {"what": "x"})])
        while not (message := json.loads(stream.recv(timeout=20)))["events"]:
            pass
        assert [event["seq"] for event in message["events"]] == [scene.market.seq]


def test_a_stream_takes_no_messages(scene):
    with scene.gateway.stream("topics=fill") as stream:
        stream.send("hello")
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                stream.recv(timeout=10)
        assert closed.value.rcvd.code == 1008 and "takes no messages" in closed.value.rcvd.reason


def test_a_client_that_does_not_read_is_cut_and_costs_nobody_anything(scene):
    """Streams of everything that nobody reads: another client has each event meanwhile, and the memory stays what it was."""
    gateway = scene.gateway
    with gateway.stream("after=0") as stream:  # what is loaded, and read from files, when it is asked for first stays
        while json.loads(stream.recv(timeout=60))["seq"] < scene.market.seq:
            pass
    before, cut = gateway.memory_bytes(), gateway.json("/v1/status")["gateway"]["streams_cut"]
    idle = []
    for _ in range(8):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", gateway.address["port"]))
        key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        sock.sendall(
            f"GET /v1/stream?after=0 HTTP/1.1\r\nHost: {HERE}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{key}".encode()
        )
        idle.append(sock)
    until(lambda: gateway.json("/v1/status")["gateway"]["streams"] == 8, "the streams are open")
    with gateway.stream(f"topics=trade&after={scene.market.seq}") as stream:
        seen, first = [], scene.market.seq
        while gateway.json("/v1/status")["gateway"]["streams_cut"] < cut + 8:
            scene.log.publish(scene.market.mixed(200))
            while not seen or seen[-1] < scene.market.seq - 5:
                seen += [event["seq"] for event in json.loads(stream.recv(timeout=60))["events"]]
        assert seen == [event.seq for event in logged(gateway.root, first) if event.kind == Kind.trade]
    until(lambda: gateway.json("/v1/status")["gateway"]["connections"] <= 2, "their connections are gone")
    assert gateway.memory_bytes() - before < 30 << 20
    for sock in idle:
        sock.close()


def test_its_end_is_orderly_and_its_files_are_its_own(scene):
    """The last test of this scene. A stream is open meanwhile."""
    gateway = scene.gateway
    token = gateway.token
    with gateway.stream("topics=fill") as stream:
        json.loads(stream.recv())
        took_s = gateway.end()
        assert took_s < NODES["gateway"].stopwaitsecs / 2, "long before supervisord would kill it"
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                stream.recv(timeout=10)
        assert closed.value.rcvd.code == 1012, "it comes back: reconnect"
    os.chmod(gateway.config.run_dir / "gateway.token", 0o644)
    gateway.start()
    assert gateway.token != token, "one that others could have read is thrown away"
