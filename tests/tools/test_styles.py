"""`mesh styles`: the tables, what is left out, and names that there are not."""

import json

import pytest

from tickmesh.tools import styles
from tickmesh.tools.terminal import UsageFailure


@pytest.fixture(scope="module")
def result():
    return styles.compare(["post_only"], ["made-up"], 4, 1)


def test_every_style_stands_beside_market(result):
    (scenario,) = result["scenarios"]
    assert [row["style"] for row in scenario["styles"]] == ["market", "post_only"]
    assert json.loads(json.dumps(result)) == result


def test_markdown_is_a_table_of_the_figures(result):
    lines = styles.markdown(result).splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    assert rows[1].startswith("| market | 4 |") and rows[2].startswith("| post_only | 4 |")
    filled = result["scenarios"][0]["styles"][1]["filled"]["value"]
    assert f"| {filled * 100:.0f} % |" in rows[2]


def test_captures_that_are_not_there_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("TICKMESH_DATA", str(tmp_path))
    result = styles.compare(["market"], ["btc-spot", "nexo-spot"], 4, 1)
    assert result["scenarios"] == [] and set(result["left_out"]) == {"btc-spot", "nexo-spot"}
    assert "is not there (TICKMESH_DATA)" in styles.markdown(result)


@pytest.mark.parametrize(("asked", "named"), [((["limt"], []), "limit_maker"), (([], ["moon"]), "made-up")])
def test_an_unknown_name_is_answered_with_those_that_there_are(asked, named):
    with pytest.raises(UsageFailure, match=named):
        styles.compare(*asked, 4, 1)
