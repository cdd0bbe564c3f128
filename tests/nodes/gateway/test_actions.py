"""Actions over the API: what is read, what is refused with a sentence. What they do to a mesh: page/test_dashboard.py."""

import json

import pytest

from tests.support.gateway_scene import GatewayProcess, LiveLog
from tests.support.stored import START, Market

NO_ACTION = "this is no action"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    root = tmp_path_factory.mktemp("actions")
    (root / "mesh.toml").write_text("[gateway]\nactions = true\n")
    market, log = Market(seq_ns=START), LiveLog(root)
    log.publish([market.instrument(), *market.mixed(50)])
    gateway = GatewayProcess(root)
    yield gateway
    gateway.end()
    log.close()


def act(gateway, body: bytes, **more):
    headers = {"Authorization": f"Bearer {gateway.token}", "Content-Type": "application/json", **more}
    status, _, answer = gateway.request("/v1/actions", headers, "POST", body)
    return status, json.loads(answer)


@pytest.mark.parametrize("body, status, words", [
    (b"", 422, NO_ACTION),
    (b"[", 422, NO_ACTION),
    (b"\xff", 422, NO_ACTION),
    (b'{"action": "halt"}', 422, NO_ACTION),
    (b'{"action": "process", "name": "x", "do": "signal"}', 422, NO_ACTION),
    (b'{"action": "process", "name": "x", "do": "stop", "more": 1}', 422, NO_ACTION),
    (b'{"action": "kill_switch", "on": "yes"}', 422, NO_ACTION),
    (b'{"action": "process", "name": "gateway", "do": "stop"}', 409, "supervisorctl stop gateway"),
    (b'{"action": "process", "name": "executor", "do": "stop"}', 409, "the mesh is not running"),  # there is no supervisord
    (b'{"action": "strategy", "name": "nobody", "state": "off"}', 404, "there: default"),
    (b'{"action": "strategy", "name": "default", "state": "off"}', 503, "no sequencer runs"),
])  # fmt: skip
def test_what_cannot_be_done_is_refused_with_a_sentence(gateway, body, status, words):
    seen, answer = act(gateway, body)
    assert (seen, words in answer["detail"]) == (status, True), answer


def test_a_body_beyond_the_bound_is_not_read(gateway):
    assert act(gateway, b" " * 5000)[0] == 413
    assert act(gateway, b"{}", **{"Content-Type": "text/plain"})[0] == 415
    assert gateway.request("/v1/actions", {"Content-Type": "application/json"}, "POST", b"{}")[0] == 401


def test_the_page_is_loaded_when_it_is_asked_for_and_not_before(gateway):
    """The token in its address becomes a cookie; headers let nothing be loaded from elsewhere; its socket is a websocket."""
    loaded = "the page is loaded"
    before = gateway.memory_bytes()
    status, headers, _ = gateway.request(f"/?token={gateway.token}")
    assert (status, headers["location"]) == (303, "/") and gateway.token not in headers["set-cookie"]
    assert "HttpOnly" in headers["set-cookie"] and "SameSite=Strict" in headers["set-cookie"]
    assert gateway.memory_bytes() - before < 8 << 20, "NiceGUI is not loaded for that"
    assert gateway.request("/?token=wrong")[0] == 401
    cookie = {"Cookie": headers["set-cookie"].partition(";")[0]}
    status, headers, body = gateway.request("/", cookie)
    assert status == 200 and b"data-act" in body and loaded not in body.decode()
    policy = headers["content-security-policy"]
    assert policy.count("content-security-policy") == 0 and "default-src 'none'" in policy and "connect-src 'self'" in policy
    assert "http" not in policy and "*" not in policy, "nothing is loaded from elsewhere"
    status, _, body = gateway.request("/")
    assert status == 200 and b"data-act" not in body, "without the token nothing can be changed"
    assert gateway.request("/_nicegui_ws/socket.io/?EIO=4&transport=polling")[0] == 426
    assert gateway.request("/_nicegui/../../etc/passwd")[0] == 404


def test_there_are_at_most_so_many_viewers(gateway):
    """The last test: pages that were opened and never connected count, too."""
    seen = [gateway.request("/")[0] for _ in range(20)]
    assert seen.count(200) < 20 and seen[-1] == 503
    assert gateway.json("/v1/status")["gateway"]["viewers"] == 0
