"""The tape keeps trades as rows of a file, and gives them as a list of them would."""

from hypothesis import given
from hypothesis import strategies as st

from tickmesh.nodes.exchange.market.tape import Print, Prints, Tape

WORD = st.integers(-(1 << 63), (1 << 63) - 1)
PRINTS = st.builds(Print, WORD, WORD, WORD, WORD, st.integers(0, 1), st.integers(-1, 1 << 60))


@given(st.lists(PRINTS, max_size=20), st.integers(-25, 25), st.integers(-25, 25), st.integers(0, 25))
def test_trades_are_given_as_by_a_list(trades, start, stop, kept):
    prints = Prints()
    for trade in trades:
        prints.append(trade)
    assert list(prints) == trades and len(prints) == len(trades)
    assert prints[start:stop] == trades[start:stop]
    if trades:
        assert prints[-1] == trades[-1] and prints[start % len(trades)] == trades[start % len(trades)]
    prints.keep_newest(kept)
    assert prints[:] == trades[max(len(trades) - kept, 0) :]


def test_a_tape_forgets_the_oldest():
    tape = Tape(retained=5)
    for number in range(1, 24):
        tape.append(Print(number, 7, 8, number, 0))
    assert 5 <= len(tape.prints) < 10
    assert [trade.id for trade in tape.latest(100)] == [19, 20, 21, 22, 23] and tape.last_id == 23
