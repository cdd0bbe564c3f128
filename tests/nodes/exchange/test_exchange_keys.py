"""Ed25519 keys at the local venue: signed requests over both doors, and the WS-API's session that needs no more signatures."""

import asyncio
import base64
import json
import time
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.exchange_clients import WsApi, configure, limit, listening, served, signed, venue
from tickmesh.bus.config import ConfigError
from tickmesh.nodes.exchange.protocol import ws_payload
from tickmesh.nodes.session.permissions import KeyRights, refusal

SETTINGS = '[exchange]\ned25519_public_key = "public.pem"\ned25519_api_key = "ed-key"\n'
PUBLIC = {"encoding": Encoding.PEM, "format": PublicFormat.SubjectPublicKeyInfo}


def make_key(folder) -> Ed25519PrivateKey:
    """Makes a key and writes its public half to where SETTINGS look for it."""
    key = Ed25519PrivateKey.generate()
    (folder / "public.pem").write_bytes(key.public_key().public_bytes(**PUBLIC))
    return key


def now_ms() -> int:
    return int(time.time() * 1000)


def signature(key: Ed25519PrivateKey, payload: str) -> str:
    """The signature of a payload as the venue takes it."""
    return base64.b64encode(key.sign(payload.encode())).decode()


def signed_by(key: Ed25519PrivateKey, **params) -> dict:
    """Parameters of a WS-API request, signed."""
    params = {"apiKey": "ed-key", "timestamp": now_ms(), **params}
    return {**params, "signature": signature(key, ws_payload(params))}


def test_a_request_signed_with_ed25519_is_taken_over_rest_and_one_by_another_key_is_not(tmp_path):
    key = make_key(tmp_path)

    async def scene():
        async with venue(tmp_path, SETTINGS) as (rest, _, _):
            for signer, status, code in ((key, 200, None), (Ed25519PrivateKey.generate(), 400, -1022)):
                query = f"timestamp={now_ms()}"
                raw = f"{query}&signature={quote(signature(signer, query), safe='')}"
                found, answer = await rest("GET", "/api/v3/account", key="ed-key", raw=raw)
                assert (found, answer.get("code")) == (status, code)
            assert (await rest("GET", "/api/v3/account", key="ed-key", raw=signed()))[1]["code"] == -1022
            assert (await rest.order("GET", "/api/v3/account"))[0] == 200, "the other key goes on as ever"

    asyncio.run(scene())


def test_a_session_that_has_logged_on_signs_no_more_until_it_logs_out(tmp_path):
    key = make_key(tmp_path)

    async def scene():
        async with venue(tmp_path, SETTINGS) as (_, ws, _), listening(ws + "/ws-api/v3") as socket:
            call = WsApi(socket)
            before = await call("order.place", False, **limit("BUY", "50000"), timestamp=now_ms())
            assert before["error"]["code"] == -1102 and "apiKey" in before["error"]["msg"]
            assert (await call("userDataStream.subscribe", False))["error"]["code"] == -2015
            wrong = signed_by(key) | {"signature": signature(key, "something else")}
            assert (await call("session.logon", False, **wrong))["error"]["code"] == -1022
            assert (await call("session.logon"))["error"] == {"code": -4056, "msg": "HMAC_SHA256 API key is not supported."}
            assert (await call("session.status", False))["result"]["apiKey"] is None

            logged = (await call("session.logon", False, **signed_by(key)))["result"]
            assert logged["apiKey"] == "ed-key" and 0 < logged["authorizedSince"] <= logged["serverTime"]
            assert (await call("userDataStream.subscribe", False))["result"] == {"subscriptionId": 0}
            made = await call("order.place", False, **limit("BUY", "50000"), timestamp=now_ms())
            assert made["result"]["status"] == "NEW"
            late = await call("order.place", False, **limit("BUY", "50000"), timestamp=now_ms() - 60_000)
            assert late["error"]["code"] == -1021
            await call.until(lambda e: e["e"] == "outboundAccountPosition")
            assert (await call("account.status"))["status"] == 200, "a request may name another key"
            assert (await call("session.status", False))["result"]["userDataStream"] is True

            out = (await call("session.logout", False))["result"]
            assert out["apiKey"] is None and out["authorizedSince"] is None
            await call.until(lambda e: e["e"] == "eventStreamTerminated")
            after = await call("order.place", False, **limit("BUY", "50000"), timestamp=now_ms())
            assert after["error"]["code"] == -1102

    asyncio.run(scene())


def test_a_logout_leaves_a_subscription_that_was_signed_for(tmp_path):
    key = make_key(tmp_path)

    async def scene():
        async with venue(tmp_path, SETTINGS) as (_, ws, _), listening(ws + "/ws-api/v3") as socket:
            call = WsApi(socket)
            await call("session.logon", False, **signed_by(key))
            assert (await call("userDataStream.subscribe.signature"))["status"] == 200
            await call("session.logout", False)
            await call("order.place", **limit("BUY", "50000"))
            await call.until(lambda e: e["e"] == "executionReport")
            assert not any(e["e"] == "eventStreamTerminated" for e in call.events)
            async with listening(ws + "/ws-api/v3") as other:
                await other.send(json.dumps({"id": 1, "method": "session.status"}))
                assert json.loads(await other.recv())["result"]["apiKey"] is None, "a session is one connection's"

    asyncio.run(scene())


@pytest.mark.parametrize("content", [b"nonsense", generate_private_key(SECP256R1()).public_key().public_bytes(**PUBLIC), None])
def test_a_file_without_an_ed25519_key_is_refused_in_a_sentence(tmp_path, content):
    if content is not None:
        (tmp_path / "public.pem").write_bytes(content)

    async def scene():
        async with served(configure(tmp_path, SETTINGS)):
            pass

    with pytest.raises(ConfigError, match="exchange.ed25519_public_key: .*public.pem"):
        asyncio.run(scene())


@pytest.mark.parametrize("settings, withdraws", [("", False), ("[exchange]\nkey_withdraws = true\n", True)])
def test_what_a_key_may_do_is_told_to_who_signs_with_it(tmp_path, settings, withdraws):
    path = "/sapi/v1/account/apiRestrictions"

    async def scene():
        async with venue(tmp_path, settings) as (rest, _, _):
            status, answer = await rest.order("GET", path)
            assert status == 200 and answer["enableWithdrawals"] is withdraws and answer["enableSpotAndMarginTrading"] is True
            assert (await rest("GET", path))[0] != 200, "without a signature"
            kept = KeyRights(**{name: answer[name] for name in KeyRights.__struct_fields__})
            for one in ("binance", "binance_usdm"):
                assert bool(refusal(kept, one)) is withdraws, "the session understands it"

    asyncio.run(scene())
