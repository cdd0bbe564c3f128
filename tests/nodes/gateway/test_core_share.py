"""A share of a core: what was used beyond it is waited out, within bounds both ways."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickmesh.nodes.gateway.core_share import OWED_S, SAVED_S, CoreShare


class Clock:
    """Of the wall."""

    now = 100.0


def test_it_waits_for_what_it_owes_and_no_longer():
    clock = Clock()
    share = CoreShare(0.25, lambda: clock.now)
    share.charge(SAVED_S)
    assert share.wait_s() == 0, "what was saved may be used at once"
    share.charge(0.5)
    assert share.wait_s() == pytest.approx(2.0)
    clock.now += 2.0
    assert share.wait_s() == pytest.approx(0.0)


def test_a_long_piece_is_forgiven_and_idle_hours_are_not_saved():
    clock = Clock()
    share = CoreShare(0.25, lambda: clock.now)
    share.charge(1000)
    assert share.wait_s() == pytest.approx(OWED_S / 0.25)
    clock.now += 1e6
    assert share.wait_s() == 0
    share.charge(SAVED_S + 0.1)
    assert share.wait_s() == pytest.approx(0.4)


@given(st.floats(0.05, 1.0), st.lists(st.floats(0.0, OWED_S), min_size=30, max_size=60))
def test_who_waits_uses_no_more_than_the_share(part, pieces):
    """Whatever the pieces, none above OWED_S: their sum is at most what was saved, the share of the time, and the last one."""
    clock = Clock()
    share = CoreShare(part, lambda: clock.now)
    for piece in pieces:
        while wait_s := share.wait_s():
            clock.now += wait_s + 1e-9
        share.charge(piece)
    assert sum(pieces) <= SAVED_S + part * (clock.now - 100.0) + pieces[-1] + 1e-6


def test_it_waits_no_longer_than_it_may():
    share = CoreShare(1e-6)
    share.charge(1000)
    asyncio.run(asyncio.wait_for(share.paid(0.01), 30))
