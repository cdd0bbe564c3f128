"""What processes write comes out of a supervisord in the foreground whole, line by line; nobody waits for a reader."""

import os

from tickmesh.nodes.supervision.foreground import ForegroundLines


def test_lines_of_several_processes_are_not_mixed():
    reading, writing = os.pipe()
    lines = ForegroundLines(writing)
    lines.take("a", "first half, ")
    lines.take("b", "whole\nand a ")
    lines.take("a", "second half\n")
    assert os.read(reading, 1000) == b"whole\nfirst half, second half\n"


def test_a_reader_that_does_not_read_costs_lines_and_no_time():
    reading, writing = os.pipe()
    lines = ForegroundLines(writing)
    for number in range(5000):
        lines.take("a", f"{number:0100d}\n")
    assert lines.left_out > 1000
    seen = b""
    while b"left out" not in seen:
        seen += os.read(reading, 1 << 16)
        lines.take("a", "again\n")
    left_out = int(seen.partition(b"supervisord: ")[2].split()[0])
    assert left_out + seen.count(b"\n") - seen.count(b"again") - 1 >= 5000, "each is there, or counted"
    assert lines.left_out == 0


def test_a_reader_that_is_gone_ends_nothing():
    reading, writing = os.pipe()
    os.close(reading)
    lines = ForegroundLines(writing)
    lines.take("a", "x\n")
    assert lines.left_out == 1
