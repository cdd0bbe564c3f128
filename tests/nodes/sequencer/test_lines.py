"""What each line is worth, against a naive model that remembers everything and looks at its newest part."""

import math
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from tickmesh.nodes.sequencer import line_quality
from tickmesh.nodes.sequencer.line_quality import Lines

SAMPLES = 4  # small, so that a short run renews the whole ring
NAMES = ("feed-1", "feed-2", "feed-3")


class Naive:
    """Every copy of every id in the order of arrival; leads and lags are lists without an end."""

    def __init__(self):
        self.first: dict[int, tuple[str, int]] = {}
        self.timed: set[int] = set()  # ids whose first has its lead
        self.leads = {name: [] for name in NAMES}
        self.lags = {name: [] for name in NAMES}

    def note(self, name: str, ident: int, recv_ns: int) -> None:
        if ident not in self.first:
            self.first[ident] = (name, recv_ns)
            return
        leader, first_ns = self.first[ident]
        if leader == name and ident not in self.timed:
            return  # it repeats itself, and nobody else has brought it
        self.lags[name].append(recv_ns - first_ns)
        if ident not in self.timed:
            self.timed.add(ident)
            self.leads[leader].append(recv_ns - first_ns)


def quantile(samples: list[int], share: float) -> int:
    newest = sorted(samples[-SAMPLES:])
    return newest[math.ceil(share * len(newest)) - 1] if newest else 0


arrivals = st.lists(
    st.tuples(st.permutations(NAMES), st.lists(st.integers(0, 1000), min_size=3, max_size=3), st.integers(2, 3)),
    min_size=1, max_size=120,
)  # fmt: skip


@given(arrivals)
def test_leads_and_lags_are_those_of_the_newest_samples(ids):
    """For every id the lines bring a copy in another order: any mixture of leads and lags."""
    naive, now = Naive(), 0
    with mock.patch.object(line_quality, "SAMPLES", SAMPLES):
        judged = Lines(2)
        for ident, (order, pauses, copies) in enumerate(ids):
            last = ident - 1 if ident else None
            for name, pause in list(zip(order, pauses))[:copies]:
                now += pause
                judged.note(name, ident, now, last)
                naive.note(name, ident, now)
                last = ident
        for row in judged.report(now):
            name = row["line"].decode()
            for field, samples in (("lead", naive.leads[name]), ("lag", naive.lags[name])):
                assert int(row[f"{field}_p50_ns"]) == quantile(samples, 0.5), (name, field, samples)
                assert int(row[f"{field}_p99_ns"]) == quantile(samples, 0.99), (name, field, samples)


def test_a_line_that_leads_and_lags_in_turn_renews_both_rings_wholly():
    """The figure that the fault showed: half of each ring stayed as it was at the interval's beginning."""
    judged, now = Lines(2), 0
    for ident in range(4 * line_quality.SAMPLES):
        pause = 1_000 if ident < 2 * line_quality.SAMPLES else 5
        first, second = ("feed-1", "feed-2") if ident % 2 else ("feed-2", "feed-1")
        judged.note(first, ident, now, ident - 1 if ident else None)
        judged.note(second, ident, now + pause, ident)
        now += 10_000
    for row in judged.report(now):
        assert [int(row[name]) for name in ("lead_p50_ns", "lead_p99_ns", "lag_p50_ns", "lag_p99_ns")] == [5, 5, 5, 5]
