"""What a client asked for is dropped when it is gone, and answered whole while it is there."""

import asyncio

import pytest

from tickmesh.nodes.gateway.attending import answer_while_there

SCOPE = {"type": "http", "method": "GET"}


def asked(work):
    """What became of a request whose answer is made by `work(receive)`, of a client that is there until `leaves` is set."""

    async def scene():
        leaves, sent, messages = asyncio.Event(), [], [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive():
            if messages:
                return messages.pop()
            await leaves.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        async def app(scope, receive, send):
            await work(receive, leaves)
            await send(scope)

        await asyncio.wait_for(answer_while_there(app, SCOPE, receive, send), 30)
        assert len(asyncio.all_tasks()) == 1, "nothing is left at work"
        return sent

    return asyncio.run(scene())


def test_who_stays_is_answered():
    async def work(receive, leaves):
        assert (await receive())["type"] == "http.request"
        await asyncio.sleep(0)

    assert asked(work) == [SCOPE]


def test_what_is_asked_by_one_that_is_gone_is_dropped():
    async def work(receive, leaves):
        leaves.set()
        await asyncio.Event().wait()

    assert asked(work) == []


def test_errors_of_the_application_come_through():
    async def work(receive, leaves):
        raise RuntimeError("seen")

    with pytest.raises(RuntimeError, match="seen"):
        asked(work)
