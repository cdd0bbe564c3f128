"""`mesh styles`: the tables, what is left out, and names that there are not."""

import json

import pytest

from tests.support.captures import USDM_BTC, needs
from tests.support.places import DATA
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


def check_commission(result, at_least: float):
    """Post-only saves the difference of both rates on all that it fills, and the table says so."""
    (scenario,) = result["scenarios"]
    market, post_only = scenario["styles"]
    assert market["filled"]["value"] > 0.9 and post_only["filled"]["value"] >= at_least
    assert (market["maker"]["value"], post_only["maker"]["value"]) == (0.0, 1.0)
    saved = market["fees_bp"]["value"] - post_only["fees_bp"]["value"]
    assert saved == pytest.approx(scenario["taker_fee_bp"] - scenario["maker_fee_bp"], rel=0.01)
    taken, made = (
        line.split(" | ")[6] for line in styles.markdown(result).splitlines() if line.startswith(("| market", "| post"))
    )
    assert taken.startswith(f"{scenario['taker_fee_bp']:.2f} (") and made.startswith(f"{scenario['maker_fee_bp']:.2f} (")


def test_post_only_saves_the_commission_that_the_schedule_promises(result):
    check_commission(result, 0.9)


@needs(USDM_BTC)
def test_post_only_saves_the_commission_that_the_schedule_promises_on_a_capture(monkeypatch):
    monkeypatch.setenv("TICKMESH_DATA", str(DATA))
    check_commission(styles.compare(["post_only"], ["btc-usdm"], 6, 1), 0.5)


def test_captures_that_are_not_there_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("TICKMESH_DATA", str(tmp_path))
    result = styles.compare(["market"], ["btc-spot", "nexo-spot"], 4, 1)
    assert result["scenarios"] == [] and set(result["left_out"]) == {"btc-spot", "nexo-spot"}
    assert "is not there (TICKMESH_DATA)" in styles.markdown(result)


@pytest.mark.parametrize(("asked", "named"), [((["limt"], []), "limit_maker"), (([], ["moon"]), "made-up")])
def test_an_unknown_name_is_answered_with_those_that_there_are(asked, named):
    with pytest.raises(UsageFailure, match=named):
        styles.compare(*asked, 4, 1)
