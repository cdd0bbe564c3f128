"""Nothing but what risk has approved becomes an intent to send."""

import ast
from typing import get_type_hints

from tests.support.places import PROJECT
from tickmesh.bus.schema import Action, OrderType, TimeInForce
from tickmesh.bus.wire import decode
from tickmesh.nodes.executor.drafts import Draft
from tickmesh.nodes.executor.intents import INTENT, IntentPlace, build_cancel, build_intent
from tickmesh.nodes.executor.orders import Order
from tickmesh.nodes.executor.risk import Approved

PLACE = IntentPlace("binance.BTCUSDT", "00c0ffee00c0ffee", 0x2A, 1, 77, "fast", 33)
DRAFT = Draft(-1, int(OrderType.LIMIT), int(TimeInForce.IOC), 100, 5, 100)


def test_an_intent_says_what_was_approved():
    event = decode(build_intent(Approved(DRAFT), PLACE))
    name, target, *rest = INTENT.unpack(event.body)
    assert (event.subject, event.cause_seq, event.k) == ("binance.BTCUSDT", 0x2A, 1)
    assert (name.rstrip(b"\0"), target.rstrip(b"\0")) == (b"t00c0ffee00c0ffee-2a-1", b"")
    assert rest == [Action.NEW, -1, OrderType.LIMIT, TimeInForce.IOC, 100, 5, 77, b"fast".ljust(16, b"\0"), 33, 0]


def test_a_cancel_names_its_order_and_asks_for_nothing():
    order = Order("t0-1-0", 1, int(OrderType.LIMIT), int(TimeInForce.GTC), 100, 10, 0)
    _, target, *rest = INTENT.unpack(decode(build_cancel(order, PLACE)).body)
    assert target.rstrip(b"\0") == b"t0-1-0"
    assert rest == [Action.CANCEL, 1, OrderType.LIMIT, 0, 0, 0, 0, b"fast".ljust(16, b"\0"), 33, 0], (
        "and has no end: who cannot send it now sends it later"
    )


def test_nothing_but_the_check_makes_an_approval_and_nothing_but_one_makes_an_intent():
    assert get_type_hints(build_intent)["approved"] is Approved
    approving, sending = set(), set()
    for path in (PROJECT / "nodes").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called, first = ast.unparse(node.func).rpartition(".")[2], ast.unparse(node.args[0]) if node.args else ""
            if called == "Approved":
                approving.add(path.name)
            if called == "encode" and first == "Kind.intent":
                sending.add(path.name)
    assert approving == {"risk.py"} and sending == {"intents.py"}
