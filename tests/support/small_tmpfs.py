"""A small tmpfs of a test's own, without root: in a user and mount namespace that only the test's processes are in."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

IN_IT = ("unshare", "--user", "--map-root-user", "--mount")


def run_in_small_tmpfs(place: Path, options: str, code: str) -> str:
    """Runs Python `code` where a tmpfs with these mount options is at `place` (and is TICKMESH_TMPFS); gives what it prints.

    Skips the test where user namespaces are not allowed. Fails it when the code does.
    """
    place.mkdir(exist_ok=True)
    shell = f'mount -t tmpfs -o {options} tmpfs "$0" || exit 77; exec "$@"'
    command = [*IN_IT, "sh", "-c", shell, str(place), sys.executable, "-c", code]
    environment = {**os.environ, "TICKMESH_TMPFS": str(place)}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    except FileNotFoundError:
        pytest.skip("a small tmpfs needs unshare (util-linux)")
    if done.returncode == 77 or done.stderr.startswith("unshare:"):
        pytest.skip(f"a small tmpfs cannot be mounted here without root: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout
