"""Answers a client for as long as it is there: what is asked for and not waited for any more is dropped."""

import asyncio

from tickmesh.nodes.gateway.guard import Application, Receive, Scope, Send


async def answer_while_there(app: Application, scope: Scope, receive: Receive, send: Send) -> None:
    """Has the application answer a request without a body; cancels that when the client is gone. Raises what it raises."""
    request = await receive()
    waiting = [request]
    gone = asyncio.create_task(_next(receive))

    async def ask() -> Scope:
        return waiting.pop() if waiting else await asyncio.shield(gone)

    answering = asyncio.create_task(_answered(app, scope, ask, send))
    try:
        done, _ = await asyncio.wait({answering, gone}, return_when=asyncio.FIRST_COMPLETED)
        if answering in done:
            answering.result()
    finally:
        answering.cancel()
        gone.cancel()
        await asyncio.gather(answering, gone, return_exceptions=True)


async def _next(receive: Receive) -> Scope:
    return await receive()


async def _answered(app: Application, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)
