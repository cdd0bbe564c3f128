"""The code blocks of the pages, and the commands in them."""

import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

from tests.support.places import PROJECT

FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```", re.S | re.M)


class Block(NamedTuple):
    """One fenced block: its page, its number there, its language and text."""

    page: str
    number: int
    language: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.page}:{self.number}"


def blocks(*languages: str) -> list[Block]:
    """Every block of README.md, docs/ and findings/, of these languages or all, in order."""
    paths = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md")), *sorted((PROJECT / "findings").glob("*.md"))]
    found = [
        Block(path.relative_to(PROJECT).as_posix(), number, match[1].strip(), match[2])
        for path in paths
        for number, match in enumerate(FENCE.finditer(path.read_text()))
    ]
    return [block for block in found if not languages or block.language in languages]


def section(page: str, heading: str) -> list[Block]:
    """The blocks below the line `## HEADING` of a page, up to the next such line, in order."""
    before, found, after = (PROJECT / page).read_text().partition(f"\n## {heading}\n")
    assert found, f"{page} has no section {heading!r}"
    first = len(FENCE.findall(before))
    count = len(FENCE.findall(after.partition("\n## ")[0]))
    return [block for block in blocks() if block.page == page][first : first + count]


def commands(block: Block) -> Iterator[list[str]]:
    """The commands of a bash block as words, without comments: as a shell has them, but that it expands nothing."""
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while "&&" in words:
            yield words[: words.index("&&")]
            words = words[words.index("&&") + 1 :]
        if words:
            yield words
