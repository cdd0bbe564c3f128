"""Where this project is, and where the real captures are, if they are anywhere."""

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("TICKMESH_DATA") or PROJECT.parent / "shared" / "data")
HAND_WRITTEN = PROJECT / "tests/support/hand-written.conf"  # a supervisor.conf with a table of its own
