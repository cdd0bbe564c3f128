"""Faults are planned over the endpoint or by a schedule, and what cannot be understood is refused with a sentence."""

import asyncio
import time

import pytest

from tests.support.exchange_clients import listening, served
from tests.support.faults_scene import FAULTS, TRADES, scene
from tests.support.waiting import until
from tickmesh.bus.config import ConfigError, load


def test_the_endpoint_explains_itself_and_refuses_in_sentences(tmp_path):
    async def body(rest, ws, ctx):
        async with listening(ws + TRADES):
            status, view = await rest("GET", FAULTS)
            assert status == 200 and "outage" in view["kinds"] and view["connections"][0]["streams"] == ["btcusdt@trade"]
        async with rest.session.post(rest.base + FAULTS, json={"kind": "nonsense"}) as answer:
            assert answer.status == 400 and "kinds: cut" in (await answer.json())["error"]
        async with rest.session.delete(rest.base + FAULTS + "?id=99") as answer:
            assert answer.status == 404
        assert (await rest("PUT", FAULTS))[0] == 405

    scene(body, tmp_path)


def test_a_schedule_begins_with_the_exchange_and_a_restart_does_not_begin_it_anew(tmp_path):
    (tmp_path / "faults.toml").write_text(
        '[[faults]]\nkind = "answer"\nendpoint = "GET /api/v3/ping"\nstatus = 503\nlength_s = 0.6\n'
        '[[faults]]\nkind = "clock"\nstart_s = 0.6\noffset_ms = 9000\n'
    )
    toml = '[exchange]\nfaults = "faults.toml"\nlines = 1\n'

    async def first(rest, ws, ctx):
        async def answers(status):
            return (await rest("GET", "/api/v3/ping"))[0] == status

        await until(lambda: answers(503), what="the first fault")
        await until(lambda: answers(200), what="its end")

    async def second(rest, ws, ctx):
        await asyncio.sleep(0.1)
        assert (await rest("GET", "/api/v3/ping"))[0] == 200
        assert (await rest("GET", "/api/v3/time"))[1]["serverTime"] - time.time() * 1000 > 8000

    scene(first, tmp_path, toml)
    scene(second, tmp_path, toml)


def test_a_schedule_that_cannot_be_read_is_a_sentence(tmp_path):
    async def run(toml: str):
        (tmp_path / "mesh.toml").write_text(toml)
        async with served(load(tmp_path)):
            pass

    for text, words in (('[[faults]]\nkind = "cu"\n', "kinds: cut"), ("[[", "TOML|Expected|Unmatched|Invalid")):
        (tmp_path / "bad.toml").write_text(text)
        with pytest.raises(ConfigError, match=words):
            asyncio.run(run('[exchange]\nfaults = "bad.toml"\n'))
    with pytest.raises(ConfigError, match="cannot be read"):
        asyncio.run(run('[exchange]\nfaults = "none.toml"\n'))
