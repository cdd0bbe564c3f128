"""The gateway beyond this machine: https and wss with a certificate, and nothing without it."""

import json
import os
import ssl
import subprocess
import sys

import pytest
from websockets.exceptions import InvalidStatus

from tests.support.gateway_scene import GatewayProcess, LiveLog
from tests.support.stored import START, Market
from tickmesh.nodes.exchange.server.tls import server_context

SETTINGS = '[gateway]\ntls_certificate = "tls/exchange.crt"\ntls_key = "tls/{key}"\n'


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    root = tmp_path_factory.mktemp("tls")
    server_context(root / "tls", "localhost")
    (root / "mesh.toml").write_text(SETTINGS.format(key="exchange.key"))
    market, log = Market(seq_ns=START), LiveLog(root)
    log.publish([market.instrument(), *market.mixed(50)])
    gateway = GatewayProcess(root, trust=root / "tls/exchange.crt")
    yield gateway
    gateway.end()
    log.close()


def test_https_and_wss_answer_who_trusts_the_certificate(gateway):
    assert gateway.url.startswith("https://")
    assert gateway.json("/v1/trades?limit=3")["events"]
    with gateway.stream("topics=trade&after=0") as stream:
        assert json.loads(stream.recv(timeout=20))["seq"] == 0
        assert json.loads(stream.recv(timeout=20))["events"]
    plain = f"http://{gateway.netloc}"
    assert gateway.request("/v1", {"Host": gateway.netloc, "Origin": plain})[0] == 403, "its own origin is the https one"
    assert gateway.request("/v1", {"Host": gateway.netloc, "Origin": gateway.url})[0] == 200
    with pytest.raises(InvalidStatus):
        gateway.stream("topics=trade", origin=plain).close()
    trusting, gateway.tls = gateway.tls, ssl.create_default_context()
    with pytest.raises(ssl.SSLCertVerificationError):
        gateway.request("/v1")
    gateway.tls = trusting


def test_plain_http_is_not_answered_there(gateway):
    """The connection is closed at once, and the gateway goes on."""
    assert gateway.raw(b"GET /v1/trades HTTP/1.1\r\nHost: localhost\r\n\r\n", timeout=5) == b""
    assert gateway.json("/v1")["paths"]


@pytest.mark.parametrize("key", ["none.key", "exchange.crt", "another.key"])
def test_files_that_do_not_fit_end_it_with_a_sentence(gateway, tmp_path, key):
    for folder, name in ((gateway.root / "tls", "exchange.crt"), (tmp_path / "other", "exchange.key")):
        if name == "exchange.key":
            server_context(folder, "localhost")
        (tmp_path / "tls").mkdir(exist_ok=True)
        target = tmp_path / "tls" / (name if name == "exchange.crt" else "another.key")
        target.write_bytes((folder / name).read_bytes())
    (tmp_path / "mesh.toml").write_text(SETTINGS.format(key=key))
    environment = {**os.environ, "TICKMESH_ROOT": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "tickmesh.nodes", "gateway"], cwd=tmp_path, env=environment, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode != 0
    assert f"tls_key = 'tls/{key}' cannot be used" in done.stderr and "Traceback" not in done.stderr
