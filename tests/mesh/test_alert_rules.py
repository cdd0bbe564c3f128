"""Every rule of alerts broken and kept again by a real fault, told to a web server; and one mesh's figures wherever they are.

The fault is the exchange's, a process that dies, a person's command, or a clock that is set: no heartbeat is made up.
"""

import json
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.command_run import mesh_here
from tests.support.mesh_run import until
from tests.support.trading_mesh import ONE_MODEL, NodeProcesses
from tests.support.web_receiver import WebReceiver
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.nodes.exchange.server.faults import PATH
from tickmesh.nodes.gateway.metric_table import HEALTH, NOT_GIVEN, group_of
from tickmesh.nodes.gateway.run_files import read_address
from tickmesh.nodes.hops.tracker import VENUE
from tickmesh.nodes.net import exchange_address
from tickmesh.nodes.sentinel.rules import AGAIN_NS, DAY_NS

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(900)]

NODES = (
    "sequencer", "exchange", "feed-1", "backfill", "session", "model-imbalance", "executor", "gateway", "sentinel-1",
    "notifier",
)  # fmt: skip
BTC = "binance.BTCUSDT"
PATIENCE_S = 240.0
FLAPPING_NS = 300 * 10**9
RULES = {  # rule → its bound, what it is of
    "clock_offset": (1500.0, ["*"]), "drawdown": (0.01, ["*"]), "gap_unrepaired": (2.0, ["*"]), "kill_switch": (0.5, ["*"]),
    "latency": (400.0, [VENUE]), "position": (0.25, ["*"]), "process_flapping": (2.5, ["feed*"]),
    "silent_stream": (11.0, ["quote.*"]), "spread": (2.0, ["*"]),
}  # fmt: skip
SETTINGS = """
checkpoint_s = 0.5
[risk]
on_kill = "flatten"
[executor]
styles = ["limit_ioc"]
[gateway]
latency_s = 5.0
nice = 0
[sentinel]
flapping_s = 300.0
"""


class AlertScene:
    """A mesh with a receiver of its alerts, and the faults of its exchange."""

    def __init__(self, root, server: WebReceiver):
        rules = "".join(f'[[alerts]]\nrule = "{name}"\nabove = {above}\nof = {json.dumps(of, ensure_ascii=False)}\n'
                        for name, (above, of) in RULES.items())  # fmt: skip
        notify = f'[[notify]]\nname = "hook"\nto = "webhook"\nurl = "{server.rest}"\nper_hour = 1000\n'
        self.root, self.server = root, server
        self.mesh = NodeProcesses(
            root, SETTINGS + ONE_MODEL.replace("[exchange]", "[exchange]\nquotes_per_s = 30.0") + rules + notify
        )

    def fault(self, method: str = "DELETE", **content) -> None:
        """Plans a fault, or ends all of them."""
        base = exchange_address.read(self.mesh.config).rest
        body = json.dumps(content).encode() if content else None
        request = urllib.request.Request(f"{base}{PATH}", body, {"Content-Type": "application/json"}, method=method)
        urllib.request.urlopen(request, timeout=30).close()

    def plan(self, **content) -> None:
        """Plans a fault that lasts until it is ended."""
        self.fault("POST", length_s=0, **content)

    def again(self, name: str) -> None:
        """Kills a process, and starts it."""
        self.mesh.kill(name)
        self.mesh.start(name)

    def wait_told(self, phase: str, *rules: str) -> None:
        """Waits until the receiver has been told of each of the rules that it begins, or is over."""
        wanted = set(rules)

        def told() -> set[str]:
            return {one["what"] for one in self.server.got if one["phase"] == phase}

        until(lambda: wanted <= told(), lambda: f"{wanted - told()} {phase}: {self.state()}", PATIENCE_S)

    def state(self) -> str:
        """What is known, for a failure's message."""
        got = [(one["phase"], one["what"], one["target"], one["why"]) for one in self.server.got]
        return f"told {got}; {[self.mesh.newest(name) for name in ('feed-binance-1', 'backfill', 'executor')]}"

    def get(self, path: str) -> bytes:
        """What the gateway answers."""
        with urllib.request.urlopen(f"{read_address(self.mesh.config).url}{path}", timeout=30) as answer:
            return answer.read()


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    with WebReceiver() as server:
        scene = AlertScene(tmp_path_factory.mktemp("alerts"), server)
        try:
            scene.mesh.start(*NODES)
            until(lambda: scene.mesh.newest("executor").get("fills", 0) > 1, "it trades", PATIENCE_S)
            yield scene
        finally:
            scene.mesh.end()


def series(text: str) -> dict[tuple, float]:
    """(name, labels …) → value of a scrape."""
    found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(one.name, *sorted(one.labels.items())): one.value for one in found}


def figures_of_v1(scene: AlertScene) -> dict:
    """What /v1 says of trading: seq → of the heartbeat that it is from."""
    positions, money = json.loads(scene.get("/v1/positions")), json.loads(scene.get("/v1/pnl"))
    (executor,) = [one for one in json.loads(scene.get("/v1/processes"))["processes"] if one["name"] == "executor"]
    return {
        "seqs": {positions["seq"], money["seq"]},
        "position": positions["positions"][BTC]["position"], "profit": money["profit"],
        "fills": executor["health"]["fills"], "refused": executor["health"]["refused"],
    }  # fmt: skip


def figures_of_metrics(scene: AlertScene) -> dict:
    """The same of /metrics."""
    got = series(scene.get("/metrics").decode())
    refused = "tickmesh_executor_refusals_total"
    return {
        "position": got["tickmesh_position", ("instrument", BTC)], "profit": got["tickmesh_profit", ("currency", "USDT")],
        "fills": got["tickmesh_executor_fills_total", ("process", "executor")],
        "refused": {labels[1][1]: count for (name, *labels), count in got.items() if name == refused},
    }  # fmt: skip


def figures_of_log(scene: AlertScene, seq: int) -> dict:
    """The same of the heartbeat in the log."""
    beat = next(LogReader(scene.mesh.config.log_dir).events(seq - 1)).map()
    shown = {name: beat[name] for name in ("profit", "fills", "refused")}
    return {"position": beat["positions"][BTC]["position"], **shown}


SURFACES = {"/metrics": figures_of_metrics}  # what shows a mesh's figures, beside /v1 and the log: the page, mesh top …


@pytest.mark.parametrize("surface", SURFACES)
def test_figures_agree_wherever_they_are(scene, surface):
    """Of one heartbeat: before and after the surface is read /v1 is at the same one."""

    def of_one_moment():
        before = figures_of_v1(scene)
        shown = SURFACES[surface](scene)
        return (before, shown) if before == figures_of_v1(scene) and len(before["seqs"]) == 1 else None

    before, shown = until(of_one_moment, "a moment without a new heartbeat", PATIENCE_S)
    (seq,) = before.pop("seqs")
    assert before == shown == figures_of_log(scene, seq) and shown["fills"] > 1


def test_every_number_of_a_heartbeat_is_a_metric_or_left_out_for_a_reason(scene):
    given = {(row.group, row.key) for row in HEALTH}
    beats = {one["name"]: one["health"] for one in json.loads(scene.get("/v1/processes"))["processes"]}
    assert len(beats) == len(NODES)
    for name, health in beats.items():
        group = group_of(name)
        for key in (key for key, value in health.items() if not isinstance(value, str)):
            known = {(group, key), ("", key)} & given or {f"{group}.{key}", f"*.{key}"} & set(NOT_GIVEN)
            assert known, f"{key} of {name} is no metric, and NOT_GIVEN does not say why"


def test_every_rule_is_broken_and_kept_again_by_a_real_fault(scene):
    scene.wait_told("begins", "position", "drawdown")  # it trades, and pays fees
    scene.plan(kind="outage")
    scene.wait_told("begins", "spread")
    scene.fault()
    scene.wait_told("is over", "spread")
    scene.plan(kind="refuse", endpoint="GET /api/v3/*rades*", status=503)
    scene.plan(kind="delay", stream="*@depth*", delay_ms=900)
    scene.wait_told("begins", "latency")
    scene.plan(kind="clock", offset_ms=4000)
    scene.again("feed-1")  # it measures the venue's clock when it begins; what it has missed cannot be repaired now
    scene.wait_told("begins", "clock_offset", "gap_unrepaired")
    scene.fault()
    scene.again("feed-1")
    scene.wait_told("is over", "clock_offset", "gap_unrepaired", "latency")
    scene.again("feed-1")
    scene.wait_told("begins", "process_flapping")  # its third life since the sentinel began
    scene.plan(kind="skip", stream="*@bookTicker")
    scene.wait_told("begins", "silent_stream")
    scene.fault()
    assert mesh_here(scene.root, "kill-switch", "on", "--why", "a test").returncode == 0
    scene.wait_told("begins", "kill_switch")
    scene.wait_told("is over", "position", "silent_stream")
    rest_ns = DAY_NS - scene.mesh.faults.wall_ns() % DAY_NS
    for step_ns in (rest_ns // 2, rest_ns - rest_ns // 2 + FLAPPING_NS):
        before = len(scene.mesh.alerts("drawdown"))
        scene.mesh.faults.step(step_ns)
        scene.wait_told("begins", "clock_step")
        again = step_ns <= AGAIN_NS
        until(lambda: again or len(scene.mesh.alerts("drawdown")) > before, scene.state, PATIENCE_S)  # noqa: B023
    # another day has begun, whose highest profit is the one that is left
    scene.wait_told("is over", "drawdown", "process_flapping")
    assert mesh_here(scene.root, "kill-switch", "off").returncode == 0
    scene.wait_told("is over", "kill_switch")
    levels = {(one["what"], one["level"]) for one in scene.server.got if one["phase"] == "begins" and one["what"] in RULES}
    assert levels == {(rule, "warning") for rule in RULES}
    assert not [event for event in scene.mesh.events(Kind.alert) if event.map()["what"] == "log still"]
