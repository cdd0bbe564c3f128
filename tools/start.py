"""Starts supervisord, and says in its own words why it does not start: never with an environment in them."""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tickmesh.nodes.supervision.presence import find
from tickmesh.tools.terminal import Failure

# So that %(here)s is that, too: supervisord expands a path twice, and a folder may have a % in its name, or a ".
CONF = "/proc/self/cwd/supervisor.conf"
IDENTITY_S = 10.0  # a daemon says who it is within milliseconds of its start
WORDS_MAX = 500
# supervisord prints what it expands % in a setting with, where that fails: all variables of its environment.
EXPANSIONS = re.compile(r"\{.*'ENV_.*\}|\{.*'ENV_.*|Available names:.*|\bENV_\w+", re.DOTALL)


def start_supervisord(root: Path, timeout_s: float) -> str:
    """Starts supervisord as a daemon, in a session of its own: it outlives this shell.

    Gives the identity of its mesh, "" of a table written by hand that has none. Raises Failure with what supervisord says.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-c", CONF],
            cwd=root, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, umask=0o077,
        )  # fmt: skip
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Failure(f"supervisord has not started within {timeout_s:g} s; see run/supervisord.log") from None
        if code:
            output.seek(0)
            words = why_not(output.read().decode(errors="replace"))
            raise Failure(f"supervisord did not start: {words or f'exit code {code}, and no word; see run/supervisord.log'}")
    deadline = time.monotonic() + IDENTITY_S
    while (presence := find(root / "run")) is None or (presence.mesh and not presence.pid):
        if time.monotonic() > deadline:
            raise Failure("supervisord has ended again; see run/supervisord.log")
        time.sleep(0.01)
    return presence.mesh


def why_not(printed: str) -> str:
    """The reason in what supervisord has printed: its error, else what it said last, without any environment."""
    printed = re.sub(r"\nFor help, use .*", "", printed.strip(), flags=re.DOTALL)
    _, found, errors = printed.partition("Error: ")
    words = errors.partition("\nError: ")[0] if found else "\n".join(printed.splitlines()[-3:])
    return " ".join(EXPANSIONS.sub("…", words).split())[:WORDS_MAX]
