"""The schemas of the OpenAPI description are those of events as the gateway gives them, of every kind."""

import random

import jsonschema_rs
import msgspec
import numpy as np
import pytest

from tickmesh.bus.config import load
from tickmesh.bus.schema import DTYPES, Kind
from tickmesh.bus.wire import decode, encode
from tickmesh.nodes.gateway import answers
from tickmesh.storage.query.event_dict import as_dict

SETTINGS = "[[instruments]]\nsymbol = 'BTCUSDT'\nprice_exponent = -2\nquantity_exponent = -5\n"


def records_of(kind: Kind, rng: random.Random) -> object:
    """Two records: one of zeros, which mean that there is none in many fields, one of any numbers; of maps one of each type."""
    dtype = DTYPES[kind]
    if dtype.names is None:
        return {"text": "x", "number": 1.5, "list": [1], "map": {"a": None}}
    rows = np.zeros(2, dtype)
    for name in dtype.names:
        if dtype[name].kind in "iu":
            rows[1][name] = rng.randrange(1, 100)
        elif dtype[name].kind == "f":
            rows[1][name] = rng.random()
        elif dtype[name].kind == "S":
            rows[1][name] = b"abc"
    return rows


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.raw], ids=lambda kind: kind.name)
def test_an_event_is_as_its_schema_says(root, kind):
    (root / "mesh.toml").write_text(SETTINGS)
    event = decode(bytes(encode(kind, "binance.BTCUSDT", records_of(kind, random.Random(15)))))
    given = msgspec.json.decode(msgspec.json.encode(as_dict(load(root), event)))
    schema = {**answers.reference(answers.event_name(kind)), "components": {"schemas": answers.schemas()}}
    jsonschema_rs.validate(schema, given)
    for name in given:
        if name in answers.EXPONENTS:
            continue
        less = {key: value for key, value in given.items() if key != name}
        assert not jsonschema_rs.is_valid(schema, less), f"{name} is always there"
    assert not jsonschema_rs.is_valid(schema, {**given, "more": 1}), "nothing else is"
    if DTYPES[kind].names:
        wrong = [{**one, next(iter(one)): {"of": "another type"}} for one in given["records"]]
        assert not jsonschema_rs.is_valid(schema, {**given, "records": wrong})


def test_every_reference_leads_somewhere():
    text = msgspec.json.encode(answers.schemas()).decode()
    wanted = {part.partition('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert wanted and wanted <= set(answers.schemas())
