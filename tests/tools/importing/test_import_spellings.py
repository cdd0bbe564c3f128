"""A capture means the same however its JSON is spelled: with blanks or without, keys in any order."""

import json

import pytest

from tests.support import published, usdm_lines
from tests.support.command_run import mesh_here
from tickmesh.bus.schema import Flag

MESSAGES = [*usdm_lines.FEW, usdm_lines.trade(5, 54_000, 3, False, "INSURANCE_FUND"), usdm_lines.trade(6, 0, 0, False, "NA")]
SPELLINGS = {
    "close": {"separators": (",", ":")},
    "blanks": {},
    "wide": {"separators": (" , ", " : ")},
    "sorted": {"sort_keys": True},
}


def written(root, spelling):
    """The capture as a file; `spelling`: what json.dumps is given."""
    path = root / "usdm.txt"
    lines = (f"{usdm_lines.T0_MS + n} {json.dumps(one, **spelling)}\n" for n, one in enumerate(MESSAGES))
    path.write_text("".join(lines))
    return path


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_blanks_and_order_of_keys_decide_nothing(tmp_path, spelling):
    (tmp_path / "mesh.toml").write_text("")
    path = written(tmp_path, SPELLINGS[spelling])
    done = mesh_here(tmp_path, "import", path, "--source", "usdm", "--json")
    assert done.returncode == 0, done.stderr
    stored = published.stored_events(tmp_path / "data/usdm")
    of = {
        kind: [one for one in stored if one.topic == f"{kind}.binance_usdm.BTCUSDT"] for kind in ("trade", "quote", "depth")
    }  # fmt: skip
    trades = [(one.last_id, bool(one.flags & Flag.OFF_BOOK)) for one in of["trade"]]
    data = [one["data"] for one in MESSAGES if "@trade" in one.get("stream", "")]
    assert trades == [(one["t"], one["X"] != "MARKET") for one in data if float(one["q"])] and trades[-1] == (5, True)
    assert of["quote"]
    assert sum(bool(one.flags & Flag.SNAPSHOT) for one in of["depth"]) == 1
    assert {one.topic.split(".")[1] for one in stored if one.topic.startswith(("trade", "quote", "depth"))} == {"binance_usdm"}
    wrong = mesh_here(tmp_path, "import", path, "--source", "spot", "--venue", "binance", "--dry-run")
    assert wrong.returncode == 1 and "has frames of binance_usdm, and --venue says binance" in wrong.stderr
