"""What the pages say of this tree is true of it."""

from tests.support.places import PROJECT


def test_every_test_that_the_page_of_coverage_names_is_there():
    """Its table says of each way in which data can be absent which test shows what the ledger says of it."""
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
