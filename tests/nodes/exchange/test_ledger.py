"""The exchange's ledger: the same inputs give the same bytes, and nothing is told before it is in it."""

import asyncio
import random
from pathlib import Path

import pytest

from tests.support.exchange_clients import configure, limit, venue
from tests.support.places import PROJECT
from tickmesh.nodes.exchange.core import Core
from tickmesh.nodes.exchange.faults.fault_plan import PlannedFault
from tickmesh.nodes.exchange.faults.faults import Faults
from tickmesh.nodes.exchange.faults.tampering import text_frame
from tickmesh.nodes.exchange.ledger import FIELDS, ExchangeLedger, LastBook, find_end
from tickmesh.nodes.exchange.market.tape import Tape
from tickmesh.nodes.exchange.protocol import Params, VenueError
from tickmesh.nodes.exchange.server.ledger import LedgerFiles
from tickmesh.tools.judge import exchange_ledger
from tickmesh.tools.judge.findings import Findings

START = 1_700_000_000_000
FOLLOWING = """
[[instruments]]
symbol = "BTCUSDT"
[[instruments]]
symbol = "ETHUSDT"
[exchange]
trades_per_s = 50
[exchange.population.ETHUSDT]
preset = "quiet"
follows = "BTCUSDT"
correlation = 0.8
"""


class Wire:
    def __init__(self, number: int):
        self.number, self.streams, self.has_user_stream, self.dead, self.data = (
            number,
            {"btcusdt@trade": None},
            False,
            False,
            b"",
        )

    def write(self, frame: bytes) -> None:
        self.data += frame


def drive(folder: Path, seed: int = 1, seconds: int = 20) -> tuple[bytes, bytes]:
    """The whole exchange but its sockets and files, under a clock of ours: (ledger, what one client got)."""
    folder.mkdir(exist_ok=True)
    config = configure(folder, FOLLOWING.replace("[exchange]", f"[exchange]\nseed = {seed}"))
    core = Core.synthetic(config, [], lambda _symbol: Tape(), START)
    book = ExchangeLedger("synthetic")
    book.add_head({}, START)
    now = START
    client = Wire(1)
    faults = Faults(lambda: now / 1000, lambda kind, *values: book.add(kind, now, *values), lambda _client: None)
    faults.add(PlannedFault(kind="skip", start_s=3, length_s=5, probability=0.3, seed=seed))
    core.start(START)
    out = b""
    rand = random.Random(seed)
    for step in range(seconds * 10):
        now = START + step * 100
        for flow in core.flows:
            flow.run(now)
        for market in core.markets.values():
            market.flush_depth(now)
        if step % 7 == 0:
            params = {"symbol": "BTCUSDT", "side": rand.choice(("BUY", "SELL")), "type": "MARKET", "quantity": "0.01"}
            if step % 14:
                params |= {"type": "LIMIT", "timeInForce": "GTC", "price": str(rand.randrange(59_000, 61_000))}
            try:
                core.desk.place(Params(params), now)
            except VenueError:
                pass
        faults.tick()
        done = core.take_uncommitted()
        book.add_rows(done.ledger_rows, now)
        for text in done.outgoing.events:
            book.add("event", now, text, "binance")
        out += book.take_batch()
        for stream, data in done.outgoing.frames:
            frame = text_frame(data.encode())
            if stream in client.streams and faults.on_send(client, stream, frame):
                client.write(frame)
        out += book.take_batch()
    return out, client.data


def test_the_same_seed_and_inputs_give_the_same_ledger_byte_for_byte(tmp_path):
    one, two = drive(tmp_path / "a"), drive(tmp_path / "b")
    assert one == two
    assert len(one[0]) > 50_000
    assert find_end(one[0])[0] == len(one[0])
    assert drive(tmp_path / "a", seed=2) != one


def test_every_kind_of_row_is_in_the_documented_format(tmp_path):
    data, _ = drive(tmp_path)
    (tmp_path / "ledger-00000000000000000001.bin").write_bytes(data)
    findings = Findings()
    kinds = set()
    for _number, kind, _time_ms, *values in exchange_ledger.read_rows(tmp_path, findings):
        kinds.add(kind)
        assert len(values) == len(FIELDS[kind]), kind
    assert kinds >= {"head", "start", "depth", "trade", "event", "fault", "frame"}
    assert findings.ok, findings.sentences
    page = (PROJECT / "docs/ledger.md").read_text()
    for kind, fields in FIELDS.items():
        assert f"`{kind}`" in page and all(field in page for field in fields), f"docs/ledger.md lacks {kind}"


def files_of(folder: Path, bytes_max: int = 1 << 20) -> LedgerFiles:
    return LedgerFiles(folder, "synthetic", bytes_max, lambda: 5)


def numbers(folder: Path) -> list[int]:
    findings = Findings()
    found = [row[0] for row in exchange_ledger.read_rows(folder, findings)]
    assert findings.ok, findings.sentences
    return found


def test_files_go_on_after_a_start_and_stay_within_their_bound(tmp_path):
    for _ in range(3):
        files = files_of(tmp_path)
        files.record("client", 1, "opened", "/ws")
        files.close()
    assert numbers(tmp_path) == list(range(1, 7))
    files = files_of(tmp_path)
    files.books = lambda: {"BTCUSDT": LastBook(7, [(1, 100, 5)], 5, 6, [(1, 100)])}
    from tickmesh.nodes.exchange.core import Outgoing, Uncommitted

    for _ in range(300):
        files.append_committed(Uncommitted([], [], Outgoing([], ["x" * 10_000])), 5)
    files.close()
    total = sum(path.stat().st_size for path in exchange_ledger.ledger_files(tmp_path))
    assert total <= (1 << 20) and files.removed > 0
    rest = numbers(tmp_path)
    assert rest == list(range(rest[0], rest[-1] + 1)) and rest[0] > 1
    row = next(row for row in exchange_ledger.read_rows(tmp_path, Findings()) if row[1] == "book")
    assert row[3:] == ["BTCUSDT", 7, [[1, 100, 5]]], "a file can be read without those before it"


@pytest.mark.parametrize("cut", [1, 10, 30])
def test_a_torn_end_is_cut_off_and_its_numbers_are_given_again(tmp_path, cut):
    files = files_of(tmp_path)
    for n in range(5):
        files.record("client", n, "opened", "/ws")
    files.close()
    (path,) = exchange_ledger.ledger_files(tmp_path)
    path.write_bytes(path.read_bytes()[:-cut])
    files_of(tmp_path).close()
    found = numbers(tmp_path)
    assert found == list(range(1, len(found) + 1)) and len(found) < 8


def test_damage_is_found(tmp_path):
    files = files_of(tmp_path)
    for n in range(50):
        files.record("client", n, "opened", "/ws")
    files.close()
    files_of(tmp_path).close()
    path = exchange_ledger.ledger_files(tmp_path)[0]
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    findings = Findings()
    list(exchange_ledger.read_rows(tmp_path, findings))
    assert findings.faults["ledger_crc"] == 1


def test_what_is_not_in_the_ledger_is_not_sent(tmp_path, monkeypatch):
    def full(self, done, now_ms):
        raise OSError(28, "No space left on device")

    async def scene():
        with pytest.raises(Exception, match="No space left"):
            async with venue(tmp_path) as (rest, _, _):
                monkeypatch.setattr(LedgerFiles, "append_committed", full)
                status, error = await rest.order(**limit("BUY", "50000"))
                assert (status, error["code"]) == (503, -1016)

    asyncio.run(scene())
