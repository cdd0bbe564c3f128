"""One table says how each field looks to a person, and the page that shows it is this table."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from tests.support.places import PROJECT
from tickmesh.bus import fields
from tickmesh.bus.fields import Form
from tickmesh.bus.schema import DTYPES, Flag, Kind, Status
from tickmesh.storage.archive.rows import row_dtype


def test_every_field_has_a_look_and_no_mantissa_or_code_is_shown_as_a_bare_number():
    """What is left as a number is named here, so that a new field is thought about."""
    numbers = {
        name
        for kind in Kind
        for name, look in fields.record_looks(kind).items()
        if look.form is Form.number and not name.endswith(("_id", "_seq", "_exponent"))
    }
    assert numbers == {
        "code", "value", "price", "epoch", "number", "duplicates", "held", "era", "events", "firsts", "disordered",
        "scale", "children", "reprices",
        *(f"{money}_{half}" for money in ("value", "fee_cost", "shortfall") for half in ("high", "low")),
    }  # fmt: skip
    for kind in Kind:
        if DTYPES[kind].names:
            assert set(row_dtype(kind).names or ()) <= set(fields.row_looks(kind))


def test_no_name_hides_behind_a_frames_own():
    """`frame.flags` is pandas' own, so the column is called otherwise."""
    own = set(dir(pd.DataFrame))
    shown = {
        look.name for kind in Kind for name, look in fields.row_looks(kind).items() if name in (row_dtype(kind).names or ())
    }
    assert "event_flags" in shown and not shown & own


@pytest.mark.parametrize(
    "kind, name, stored, shown",
    [
        (Kind.fill, "fee", 915_855, Decimal("0.00915855")),
        (Kind.balance, "free", 12, Decimal("0.00000012")),
        (Kind.trade, "price_ticks", 6_183_763, Decimal("61837.63")),
        (Kind.trade, "quantity_lots", 2**63 - 1, Decimal("92233720368547.75807")),
        (Kind.instrument, "min_notional", 500, Decimal("5.00")),
        (Kind.trade, "side", -1, "sell"),
        (Kind.depth, "side", 1, "bid"),
        (Kind.depth, "side", 0, None),
        (Kind.update, "status", Status.PendingNew, "PendingNew"),
        (Kind.update, "status", 77, "77"),
        (Kind.intent, "price_ticks", 0, None),
        (Kind.quote, "ask_ticks", 0, None),
        (Kind.quote, "venue_ns", 0, None),
        (Kind.quote, "venue_ns", 5, 5),
        (Kind.trade, "flags", Flag.SNAPSHOT | Flag.RESET, "SNAPSHOT|RESET"),
        (Kind.trade, "flags", 0, ""),
        (Kind.trade, "flags", 2 | 1 << 14, "REPAIRED|16384"),
        (Kind.gap, "reason", 5, "resync"),
        (Kind.gap, "stream", 4, "depth"),
        (Kind.fill, "maker", 1, True),
        (Kind.fill, "fee_asset", b"BNB", "BNB"),
        (Kind.signal, "price", float("nan"), None),
        (Kind.clock, "correction_ns", 0, 0),
    ],
)
def test_values_as_a_person_sees_them(kind, name, stored, shown):
    look = fields.row_looks(kind)[name]
    assert look.shown(stored, (-2, -5)) == shown
    if not isinstance(stored, (bytes, float)):
        assert look.shown(np.array([stored])[0], (-2, -5)) == shown


def page_rows() -> list[str]:
    """The rows of docs/fields.md, by the table: those of the header, then each kind's own."""
    out = []
    for title, looks in [("every event", fields.header_looks()), *((kind.name, fields.record_looks(kind)) for kind in Kind)]:
        for name, look in looks.items():
            form = look.form.value
            if look.words:
                known = "kinds" if look.words is fields.header_looks()["kind"].words else ", ".join(look.words.values())
                form += f": {known}"
            out.append(f"| {title} | {name} | {look.name} | {form} | {'0' if look.zero_is_none else ''} |")
    return out


def test_the_page_is_the_table():
    page = (PROJECT / "docs" / "fields.md").read_text()
    stated = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| of |")]
    assert stated == page_rows(), "docs/fields.md should have these rows:\n" + "\n".join(page_rows())
