"""What takes long shows how far it is: to a person at a terminal, and to nobody else."""

import os
import pty
import re
import subprocess
import sys

import pytest

from tests.support.places import PROJECT
from tests.support.stored import Market, write_log
from tickmesh.bus.config import load

EVENTS = 1200


@pytest.mark.parametrize("words, what", [(("verify",), "judging events"), (("bars", "BTCUSDT"), "reading files")])
def test_a_person_sees_how_far_it_is_and_a_file_has_nothing_of_it(root, words, what):
    write_log(load(root).log_dir, Market().mixed(EVENTS))
    line = [sys.executable, "-m", "tickmesh.tools.cli", *words]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "TERM": "xterm"}
    reader, terminal = pty.openpty()
    shown = subprocess.run(line, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=terminal, text=True)
    os.close(terminal)
    said = os.read(reader, 1 << 16).decode()
    os.close(reader)
    assert what in said, (said, shown)
    if what == "judging events":
        assert re.findall(r"(\d+)/\?", said)[-1] == "1000", said
    into_a_file = subprocess.run(line, cwd=root, env=environment, capture_output=True, text=True)
    assert what not in into_a_file.stderr and into_a_file.stdout == shown.stdout
