"""https and wss with a certificate of the venue's own making."""

import asyncio
import importlib.util
import json
import shutil
import ssl

import aiohttp
import pytest

from tests.support.exchange_clients import configure, limit, listening, served, signed
from tickmesh.bus.config import ConfigError
from tickmesh.nodes.exchange.server import tls


def test_a_client_that_trusts_the_certificate_trades_over_tls(tmp_path):
    async def scene():
        async with served(configure(tmp_path, "[exchange]\ntls = true\n")) as (rest, ws, _):
            assert rest.startswith("https://") and ws.startswith("wss://")
            trust = ssl.create_default_context(cafile=str(tmp_path / "run" / "exchange.crt"))
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
                headers = {"X-MBX-APIKEY": "local-key"}
                async with session.post(f"{rest}/api/v3/order?{signed(**limit('BUY', '50000'))}", headers=headers) as answer:
                    assert (await answer.json())["status"] == "NEW"
            async with listening(ws + "/ws/btcusdt@depth@100ms", ssl=trust) as socket:
                assert json.loads(await asyncio.wait_for(socket.recv(), 20))["e"] == "depthUpdate"
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                async with aiohttp.ClientSession() as session:
                    await session.get(rest + "/api/v3/time")
            assert (tmp_path / "run" / "exchange.key").stat().st_mode & 0o777 == 0o600

    asyncio.run(scene())


MAKERS = {"cryptography": importlib.util.find_spec("cryptography"), "openssl": shutil.which("openssl")}


@pytest.mark.parametrize("maker", MAKERS)
def test_cryptography_and_openssl_make_a_certificate_that_is_kept(tmp_path, monkeypatch, maker):
    if not MAKERS[maker]:
        pytest.skip(f"{maker} is not here")
    if maker == "openssl":
        monkeypatch.setattr(tls, "_make", lambda *_: (_ for _ in ()).throw(ImportError()))
    tls.server_context(tmp_path, "127.0.0.1")
    made = (tmp_path / "exchange.crt").read_bytes()
    tls.server_context(tmp_path, "127.0.0.1")
    assert (tmp_path / "exchange.crt").read_bytes() == made


def test_without_cryptography_and_openssl_there_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(tls, "_make", lambda *_: (_ for _ in ()).throw(ImportError()))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match="neither the Python package `cryptography` nor the program"):
        tls.server_context(tmp_path, "127.0.0.1")
