"""A session whose order socket cannot be had: other addresses, and REST; no order is sent twice. At the local exchange."""

import asyncio
import contextlib
import socket

import pytest

from tests.support.faults_scene import command_fault, end_fault
from tests.support.session_at_exchange import PATIENCE_S, at_exchange
from tests.support.waiting import until

SOCKETS = {"kind": "refuse", "status": 503}  # every handshake; REST goes on


def closed_port():
    """A port of this machine at which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextlib.contextmanager
def half_open():
    """A port that takes connections and never says a word."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen(50)
        yield one.getsockname()[1]


async def without_sockets(mesh, rest):
    """Takes the order socket away; gives the number of the fault, when orders go over REST."""
    number = await command_fault(rest, **SOCKETS)
    await command_fault(rest, kind="cut")
    await until(lambda: mesh.alerts("order_socket"), PATIENCE_S)
    return number


async def client_ids(rest):
    """The client ids of all orders that the account ever had, each as often as it was placed."""
    _, orders = await rest.order("GET", "/api/v3/allOrders", symbol="BTCUSDT", orderId=0)
    return sorted(one["clientOrderId"] for one in orders)


def test_orders_go_over_rest_while_the_socket_is_away_and_over_it_again(tmp_path):
    async def play(mesh, rest):
        before = mesh.order("before", ttl_s=30.0)
        await until(lambda: mesh.states(before)[-1:] == ["New"], PATIENCE_S)
        number = await without_sockets(mesh, rest)
        assert mesh.alerts("order_socket")[0][:2] == ("warning", "binance.orders")
        mesh.order("resting", ttl_s=30.0)
        mesh.order("taking", price_ticks=90_000 * 10**8, ttl_s=30.0)
        await until(lambda: mesh.states("resting")[-1:] == ["New"], PATIENCE_S)
        await until(lambda: mesh.states("taking")[-1:] == ["Filled"], PATIENCE_S)
        assert mesh.fills("taking"), "its fills come with the answer, or are asked for"
        mesh.publish_intent("less", target="resting", lots=500_000, amend=True)
        await until(lambda: mesh.quantities("resting")[-1] == 500_000, PATIENCE_S)
        mesh.publish_intent("cancel", target=before)
        await until(lambda: mesh.states(before)[-1] == "Canceled", PATIENCE_S)
        assert (await rest.order("DELETE", symbol="BTCUSDT", origClientOrderId="resting"))[0] == 200
        await until(lambda: mesh.states("resting")[-1] == "Canceled", PATIENCE_S)  # by hand: it is polled for
        await end_fault(rest, number)
        await until(lambda: mesh.alerts("order_socket")[-1][0] == "info", PATIENCE_S)
        mesh.order("after", ttl_s=30.0)
        await until(lambda: mesh.states("after")[-1:] == ["New"], PATIENCE_S)
        assert await client_ids(rest) == ["after", "before", "resting", "taking"]

    at_exchange(tmp_path, play)


def test_an_order_whose_answer_was_lost_with_the_socket_is_asked_for_over_rest_and_not_sent_again(tmp_path):
    async def play(mesh, rest):
        await command_fault(rest, kind="timeout_after", endpoint="order.place", silent=True, times=1)
        number = await command_fault(rest, **SOCKETS)
        mesh.order("lost", ttl_s=30.0)
        await until(lambda: mesh.states("lost")[-1:] == ["New"], PATIENCE_S)
        mesh.order("next", ttl_s=30.0)
        await until(lambda: mesh.states("next")[-1:] == ["New"], PATIENCE_S)
        await end_fault(rest, number)
        await until(lambda: mesh.alerts("order_socket")[-1][0] == "info", PATIENCE_S)
        assert await client_ids(rest) == ["lost", "next"]

    at_exchange(tmp_path, play)


@pytest.mark.parametrize("kind, came_to", [("timeout_before", "Rejected"), ("timeout_after", "New")])
def test_an_order_over_rest_without_an_answer_is_asked_for_and_not_sent_again(tmp_path, kind, came_to):
    async def play(mesh, rest):
        await without_sockets(mesh, rest)
        await command_fault(rest, kind=kind, endpoint="POST /api/v3/order", silent=True, times=1)
        mesh.order("lost", ttl_s=30.0)
        await until(lambda: mesh.states("lost")[-1:] == [came_to], PATIENCE_S)
        assert await client_ids(rest) == (["lost"] if came_to == "New" else [])

    at_exchange(tmp_path, play)


def test_the_next_address_is_tried_after_one_that_is_closed_and_one_that_never_answers(tmp_path):
    with half_open() as silent:

        def venues(rest, ws):
            sockets = [f"ws://127.0.0.1:{port}" for port in (closed_port(), silent)]
            return {"binance": {"ws_api": [*sockets, ws], "rest_api": [f"http://127.0.0.1:{closed_port()}", rest]}}

        async def play(mesh, rest):
            mesh.order("order", ttl_s=60.0)
            await until(lambda: mesh.states("order")[-1:] == ["New"], 2 * PATIENCE_S)
            await asyncio.sleep(0)
            assert await client_ids(rest) == ["order"]

        at_exchange(tmp_path, play, venues=venues, rest_fallback=False)
