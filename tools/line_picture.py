"""A line of values as text, of dots of Braille characters: each has two beside and four above each other (Unicode, U+2800)."""

from collections.abc import Sequence

BRAILLE = 0x2800
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # by row from above, left and right
ACROSS, DOWN = 2, 4


def picture(values: Sequence[float], width: int, height: int) -> list[str]:
    """The newest values that have room as `height` lines of `width` characters, with the highest and lowest beside them.

    Dots of neighbours are joined, so that a jump is a line. Lines of spaces where there is no value.
    """
    room = max(width - 1 - _margin(values), 1)
    shown = list(values)[-room * ACROSS :]
    rows = height * DOWN
    cells = [[0] * room for _ in range(height)]
    if shown:
        low, high = min(shown), max(shown)
        place = [round((high - one) / (high - low) * (rows - 1)) if high > low else rows // 2 for one in shown]
        for x, y in enumerate(place):
            before = place[x - 1] if x else y
            for dot in range(min(before, y), max(before, y) + 1):
                cells[dot // DOWN][x // ACROSS] |= DOTS[dot % DOWN][x % ACROSS]
        labels = {0: f"{high:.10g}", height - 1: f"{low:.10g}"} if high > low else {height // 2: f"{low:.10g}"}
    else:
        labels = {}
    lines = ("".join(chr(BRAILLE + cell) if cell else " " for cell in row) for row in cells)
    return [f"{line} {labels.get(number, '')}".rstrip() for number, line in enumerate(lines)]


def _margin(values: Sequence[float]) -> int:
    return max((len(f"{one:.10g}") for one in (min(values), max(values))), default=0) if values else 0
