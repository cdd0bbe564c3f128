"""`mesh down` ends whatever runs, also where mesh.toml cannot be read any more. Stand-ins for the nodes."""

import json
import shutil
import sys

import pytest

from tests.support.command_run import mesh_here
from tests.support.places import PROJECT
from tests.support.stand_ins import StandIns
from tickmesh.bus.config import load
from tickmesh.tools.running import living
from tickmesh.tools.started_with import remember

pytestmark = pytest.mark.mesh


@pytest.mark.parametrize(("known", "words"), [(True, ()), (False, ("--force",))])
def test_a_wrong_mesh_toml_hinders_no_end(tmp_path, known, words):
    (tmp_path / "mesh.toml").write_text('source = "mine"\n')
    shutil.copy(PROJECT / "supervisor.conf", tmp_path)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    mesh = StandIns(tmp_path)
    mesh.start()
    if known:
        remember(load(tmp_path))
    else:
        (tmp_path / "run/settings.json").unlink(missing_ok=True)
    try:
        (tmp_path / "mesh.toml").write_text("[sentinel\n")
        refused = mesh_here(tmp_path, "up")
        assert refused.returncode == 1 and "not TOML" in refused.stderr
        done = mesh_here(tmp_path, "down", *words)
        assert done.returncode == 0 and "not TOML" in done.stdout and "tickmesh is down" in done.stdout, done
        assert ("Source mine" in done.stdout) is known and ("not known: its outboxes stay" in done.stdout) is not known
        assert (
            not living(tmp_path) and not (tmp_path / "run/ready").exists() and not (tmp_path / "run/supervisord.pid").exists()
        )
        answer = json.loads(mesh_here(tmp_path, "down", "--json").stdout)
        assert not answer["was_running"] and "not TOML" in answer["wrong_settings"]
        assert answer["source"] == ("mine" if known else None)
    finally:
        (tmp_path / "mesh.toml").write_text('source = "mine"\n')
        mesh_here(tmp_path, "down", "--force")
