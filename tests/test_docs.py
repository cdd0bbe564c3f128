"""What the pages say of this tree is true of it."""

import re

from tests.support.places import PROJECT


def test_every_test_that_the_page_of_coverage_names_is_there():
    """The table of docs/coverage.md says of each way in which data can be absent which test shows what is said of it."""
    rows = [line.split("|")[4] for line in (PROJECT / "docs" / "coverage.md").read_text().splitlines() if line.count("|") == 5]
    cells = [part.strip() for row in rows for part in row.split(";")]
    named = [cell for cell in cells if cell not in ("", "shown by", "the sweep") and not cell.startswith("---")]
    assert len(named) > 30
    for cell in named:
        file, _, tests = cell.partition(":")
        (path,) = (PROJECT / "tests").rglob(f"test_{file.strip()}.py")
        text = path.read_text()
        for test in tests.split(",") if tests else ():
            assert f"def test_{test.strip()}(" in text, f"test_{file}.py has no test_{test.strip()}"


def test_the_questions_of_the_architecture_page_are_answered_by_files_that_exist():
    page = (PROJECT / "docs" / "architecture.md").read_text()
    rows = [line.split("|") for line in page.partition("## Twenty questions")[2].splitlines() if line.count("|") == 3]
    answers = [re.findall(r"`([^`]+)`", row[2]) for row in rows[2:]]
    assert len(answers) == 20 and all(answers)
    for name in (name for names in answers for name in names):
        assert (PROJECT / name).is_file(), f"docs/architecture.md names {name}"
    assert len(page.splitlines()) <= 100, "two screens"


def test_every_file_and_folder_that_a_page_names_exists():
    """Such as `nodes/feed/node.py`: names that begin with a folder of the tree."""
    pages = [PROJECT / "README.md", *(PROJECT / "docs").rglob("*.md")]
    for page in pages:
        for name in re.findall(r"`((?:bus|storage|nodes|research|tools|tests|bench|docs)/[\w./-]*)`", page.read_text()):
            assert (PROJECT / name).exists(), f"{page.relative_to(PROJECT)} names {name}"


def test_no_page_offers_to_restart_both_lines_at_once_without_its_price():
    """`restart feeds:*` stops both lines of a venue: what comes meanwhile nobody hears."""
    pages = [PROJECT / "README.md", PROJECT / "CHANGELOG.md", *(PROJECT / "docs").rglob("*.md")]
    lines = [line for page in pages for line in page.read_text().splitlines() if re.search(r"restart.*feeds:\*", line)]
    assert len(lines) >= 3
    for line in lines:
        assert "hole" in line, f"what it costs is not said: {line}"


def test_every_decision_is_in_their_index():
    folder = PROJECT / "docs" / "decisions"
    named = re.findall(r"^- \[(.+)\]\((.+)\)$", (folder / "index.md").read_text(), re.M)
    there = {path.name: path.read_text().splitlines()[0].removeprefix("# ") for path in folder.glob("*.md")}
    del there["index.md"]
    assert {name: title for title, name in named} == there, "docs/decisions/index.md has a line for each page, with its title"
