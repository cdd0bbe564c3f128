"""A process's share of a core: what it used beyond it is waited out, within bounds both ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickmesh.nodes.gateway.core_share import OWED_S, SAVED_S, CoreShare


class Clocks:
    """Of the processor, and of the wall."""

    used = wall = 100.0


def test_it_waits_for_what_it_owes_and_no_longer():
    clocks = Clocks()
    share = CoreShare(0.25, lambda: clocks.used, lambda: clocks.wall)
    clocks.used += SAVED_S
    assert share.wait_s() == 0, "what was saved may be used at once"
    clocks.used += 0.5
    assert share.wait_s() == pytest.approx(2.0)
    clocks.wall += 2.0
    assert share.wait_s() == pytest.approx(0.0)


def test_a_long_piece_is_forgiven_and_idle_hours_are_not_saved():
    clocks = Clocks()
    share = CoreShare(0.25, lambda: clocks.used, lambda: clocks.wall)
    clocks.used += 1000
    assert share.wait_s() == pytest.approx(OWED_S / 0.25)
    clocks.wall += 1e6
    assert share.wait_s() == 0
    clocks.used += SAVED_S + 0.1
    assert share.wait_s() == pytest.approx(0.4)


@given(st.floats(0.05, 1.0), st.lists(st.floats(0.0, 0.9), min_size=30, max_size=60))
def test_who_waits_uses_no_more_than_the_share(part, pieces):
    """Whatever the pieces: their sum is at most what was saved, the share of the time, and the last piece."""
    clocks = Clocks()
    share = CoreShare(part, lambda: clocks.used, lambda: clocks.wall)
    for piece in pieces:
        clocks.wall += share.wait_s() + 1e-9
        while wait_s := share.wait_s():
            clocks.wall += wait_s
        clocks.used += piece
    assert sum(pieces) <= SAVED_S + part * (clocks.wall - 100.0) + pieces[-1] + 1e-6
