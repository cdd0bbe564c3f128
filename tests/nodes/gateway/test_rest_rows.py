"""What the gateway answers is what `tickmesh.open()` gives, whatever is in memory, in the log or in the archive."""

import io
import json
import random
from decimal import Decimal
from urllib.parse import quote

import jsonschema_rs
import msgpack
import pyarrow as pa
import pytest

import tickmesh
from tests.support.gateway_scene import GatewayProcess
from tests.support.research_scene import OTHER, SUBJECT, recorded
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.bus.table_names import TABLES
from tickmesh.storage.query.map_rows import is_map
from tickmesh.storage.recent.store import RecentWriter

SETTINGS = """
[[instruments]]
symbol = "BTCUSDT"
price_exponent = -2
quantity_exponent = -5
[[instruments]]
symbol = "ETHUSDT"
[[instruments]]
venue = "binance_usdm"
symbol = "ETHUSDT"
price_exponent = -3
quantity_exponent = -4
[gateway]
kind_bytes = 65536
requests_per_s = 100000.0
core_share = 1.0
nice = 0
"""  # exponents as the scene's definitions have them
ROUNDS = 150  # three days of some hundred events a kind: more than the little memory below holds


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """A gateway on three recorded days, most of them archived, that keeps little in memory."""
    root = tmp_path_factory.mktemp("gateway")
    config = recorded(root, ROUNDS)
    (root / "mesh.toml").write_text(SETTINGS)
    log = LogReader(config.log_dir)
    recent = RecentWriter(config.recent_dir, log.log_id, last=log.last)
    recent.put(log.events())
    recent.commit()
    recent.close()
    gateway = GatewayProcess(root)
    yield gateway
    gateway.end()


@pytest.fixture(scope="module")
def db(gateway):
    return tickmesh.open(gateway.root)


def rows_of(events: list[dict]) -> list[dict]:
    """A row for each record, with its event's seq and time."""
    return [{**row, "seq": event["seq"], "seq_ns": event["seq_ns"]} for event in events for row in event["records"]]


def same(given: list[dict], *tables: pa.Table) -> None:
    """Compares rows of the gateway with those of selections with exact decimals: every column that both have."""
    wanted = []
    for table in tables:
        moments = [one.name for one in table.schema if pa.types.is_timestamp(one.type)]
        for name in moments:
            table = table.set_column(table.schema.get_field_index(name), name, table.column(name).cast(pa.int64()))
        wanted += table.to_pylist()
    wanted.sort(key=lambda row: row["seq"])
    assert [row["seq"] for row in given] == [row["seq"] for row in wanted]
    for row, right in zip(given, wanted):
        names = set(row) & set(right)
        assert len(names) > 3
        for name in names:
            seen, value = row[name], right[name]
            seen = Decimal(seen) if isinstance(value, Decimal) and seen is not None else seen
            assert seen == value or (seen is None and value == 0), (name, row, value)  # a column of numbers has no none


@pytest.mark.parametrize("name", [name for name, kind in TABLES.items() if not is_map(kind)])
def test_every_table_has_the_rows_of_the_facade(gateway, db, name):
    kind = TABLES[name]
    given = gateway.pages(f"/v1/{name}?after=0&limit=97")
    subjects = db.source.subjects(kind)  # each by itself: exact decimals of several have no common type
    same(rows_of(given), *(db.select(kind, one, gaps="ignore", decimals="exact").to_arrow() for one in subjects))
    newest = gateway.json(f"/v1/{name}?limit=5")["events"]
    assert [event["seq"] for event in newest] == [event["seq"] for event in given][-5:]


@pytest.mark.parametrize("name", [name for name, kind in TABLES.items() if is_map(kind)])
def test_what_processes_publish_has_the_rows_of_the_facade(gateway, db, name):
    given = gateway.pages(f"/v1/{name}?after=0&limit=7")
    wanted = db.select(TABLES[name]).to_pandas()
    assert [event["seq"] for event in given] == (list(wanted["seq"]) if len(wanted) else [])


def test_filters_mean_what_they_mean_in_the_facade(gateway, db):
    span = ("2024-08-10", "2024-08-11T00:00:00.05")
    rows = db.trades("BTCUSDT", *span, gaps="ignore", decimals="exact").to_arrow()
    given = gateway.pages(f"/v1/trades?instrument=BTCUSDT&start={span[0]}&end={span[1]}&limit=33")
    assert rows.num_rows > 100
    same(rows_of(given), rows)
    everything = db.trades(None, *span, gaps="ignore", merge=True).to_arrow()
    newest = gateway.json(f"/v1/trades?start={span[0]}&end={span[1]}&limit=5000")["events"]
    assert [event["seq"] for event in newest] == everything.column("seq").to_pylist()
    last = gateway.json(f"/v1/trades?instrument=BTCUSDT&start={span[0]}&end={span[1]}&limit=5000")
    assert last["next"] is None and not last["more"], "the end has been reached: nothing can follow"
    pattern = db.trades("binance_usdm.*", gaps="ignore", decimals="exact").to_arrow()
    same(rows_of(gateway.pages(f"/v1/trades?instrument={quote('binance_usdm.*')}&after=0&limit=1000")), pattern)
    both = gateway.pages(f"/v1/trades?instrument=BTCUSDT,{OTHER}&after=0&limit=1000")
    assert {event["subject"] for event in both} == {SUBJECT, OTHER}
    assert {event["subject"] for event in gateway.pages("/v1/health?process=feed-2&after=0")} == {"feed-2"}
    mixed = gateway.pages("/v1/events?topics=fill,alert,update.binance&after=0&limit=2")
    assert [event["kind"] for event in mixed] == ["update", "fill"] * 3 + ["alert"]


def test_the_newest_are_those_of_memory_and_of_the_recent_store(gateway, db):
    memory = gateway.json("/v1/status")["gateway"]["stored_reads"]
    trades = db.trades("binance.BTCUSDT", gaps="ignore").to_arrow().column("seq").to_pylist()
    for limit in (1, 50, len(trades) - 1, 5000):
        given = gateway.json(f"/v1/trades?instrument=BTCUSDT&limit={limit}")["events"]
        assert [event["seq"] for event in given] == trades[-limit:]
    assert 2 <= gateway.json("/v1/status")["gateway"]["stored_reads"] - memory < 4, "few of them are in memory alone"


def test_forms_carry_the_same(gateway, db):
    path = "/v1/quotes?after=0&limit=50"
    plain = gateway.json(path)
    _, headers, body = gateway.request(path, {"Accept": "application/msgpack"})
    packed = msgpack.unpackb(body)
    assert headers["content-type"] == "application/msgpack"
    for event in [*plain["events"], *packed["events"]]:
        del event["age_ms"]
    assert packed == plain
    _, headers, body = gateway.request(path, {"Accept": "application/vnd.apache.arrow.stream, */*;q=0.1"})
    table = pa.ipc.open_stream(io.BytesIO(body)).read_all()
    assert table.column("seq").to_pylist() == [event["seq"] for event in plain["events"]]
    assert table.column("bid_ticks").to_pylist() == [row["bid_ticks"] for row in rows_of(plain["events"])]
    assert headers["link"] == f'<{plain["next"]}>; rel="next"' and headers["tickmesh-seq"] == str(plain["seq"])
    status, _, body = gateway.request("/v1/health", {"Accept": "application/vnd.apache.arrow.stream"})
    assert status == 406 and "allowed: application/json, application/msgpack" in json.loads(body)["detail"]


def test_bars_books_and_coverage_are_those_of_the_facade(gateway, db):
    bars = gateway.json("/v1/bars?instrument=BTCUSDT&every=1s&start=2024-08-10&end=2024-08-10T00:01")
    frame = db.bars("BTCUSDT", "1s", "2024-08-10", "2024-08-10T00:01", gaps="ignore").to_pandas()
    assert [bar["begin_ns"] for bar in bars["bars"]] == list(frame.index.astype("int64")) and len(frame)
    for name in ("open", "high", "low", "close", "volume", "buy_volume", "notional", "vwap", "count", "bid_price", "quotes"):
        for bar, value in zip(bars["bars"], frame[name]):
            assert float("nan" if bar[name] is None else bar[name]) == pytest.approx(float(value), nan_ok=True), name
    intervals = gateway.json("/v1/coverage?instrument=BTCUSDT&kind=trade")["intervals"]
    ledger = db.coverage("BTCUSDT", "trade")
    assert [(one["state"], one["first_id"], one["last_id"]) for one in intervals] == list(
        zip(ledger["state"], ledger["first_id"], ledger["last_id"])
    )
    assert gateway.json("/v1/books?instrument=BTCUSDT")["valid"] is False, "no snapshot has begun it"


def test_every_answer_is_as_openapi_describes_it(gateway):
    """Of every path an answer with content, against the schema that the description has for it: no field more, none less."""
    described = gateway.json("/openapi.json")
    asked = {
        "/v1/books": "?instrument=BTCUSDT",
        "/v1/bars": "?instrument=BTCUSDT&every=1s&start=2024-08-10&end=2024-08-10T00:01",
    }
    empty = []
    for path, operations in described["paths"].items():
        if not path.startswith("/v1"):
            continue  # metrics are no JSON
        status, _, body = gateway.request(path + asked.get(path, "?after=0&limit=5000" if path[4:] in TABLES else ""))
        answers = operations["get"]["responses"]
        (schema,) = (
            answers[str(status)]["content"].values() if status != 200 else [answers["200"]["content"]["application/json"]]
        )
        assert "$ref" in schema["schema"], f"{path} is described"
        found = json.loads(body)
        jsonschema_rs.validate({**schema["schema"], "components": described["components"]}, found)
        if not any(isinstance(part, list) and part for part in found.values()):
            empty.append((path, status))
    full = set(described["paths"]) - {path for path, _ in empty}
    assert {
        f"/v1/{name}" for name in ("trades", "quotes", "depth", "orders", "fills", "gaps", "health", "bars", "coverage")
    } < full
    trade = gateway.json("/v1/trades?limit=1")
    wrong = {**trade, "events": [{**trade["events"][0], "records": [{**trade["events"][0]["records"][0], "price": 1.5}]}]}
    schema = {**answers_of(described, "/v1/trades"), "components": described["components"]}
    assert jsonschema_rs.is_valid(schema, trade) and not jsonschema_rs.is_valid(schema, wrong), "a price is a text"


def answers_of(described: dict, path: str) -> dict:
    return described["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]


NASTY = (
    "", " ", "-1", "0", "1", "9" * 30, "1e9", "NaN", "null", "%00", "%ff", "..%2f..%2fetc", "*", "[", "?*[", "a" * 900,
    "trade", "BTCUSDT", "2024-08-10", "1h", "now", "0.1s", "🙂", "';--", "1721520000000000000", "true",
)  # fmt: skip


def test_no_request_that_openapi_describes_is_a_fault(gateway):
    """A seeded walk over the description: every path with odd values of every parameter is answered, and never with a 500."""
    described = gateway.json("/openapi.json")
    assert {f"/v1/{name}" for name in TABLES} < set(described["paths"])
    rng = random.Random(15)
    seen = set()
    for path, operations in described["paths"].items():
        names = [one["name"] for one in operations["get"].get("parameters", [])]
        for _ in range(3 + 2 * len(names)):
            chosen = rng.sample(names, rng.randint(0, len(names)))
            query = "&".join(f"{name}={quote(rng.choice(NASTY), safe='%')}" for name in chosen)
            status, headers, body = gateway.request(f"{path}?{query}")
            seen.add(status)
            assert status in (200, 404, 422), (path, query, status, body[:300])
            if status != 200:
                assert headers["content-type"] == "application/problem+json"
                problem = json.loads(body)
                assert problem["status"] == status and len(problem["detail"]) > 10
    assert seen == {200, 404, 422}


def test_kinds_have_one_place(gateway):
    assert set(TABLES.values()) | {Kind.clock, Kind.cursor, Kind.watermark, Kind.coverage, Kind.raw} == set(Kind)
