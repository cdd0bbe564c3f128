"""What an installation brings: one name, and the versions that requirements.lock pins."""

import configparser
import re
import subprocess
import sys

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.places import PROJECT


def required() -> list[Requirement]:
    parser = configparser.ConfigParser()
    parser.read(PROJECT / "setup.cfg")
    lines = parser["options"]["install_requires"] + parser["options.extras_require"]["dev"]
    return [Requirement(line) for line in lines.splitlines() if line.strip() and not line.startswith("#")]


def test_every_package_is_pinned_within_its_range_with_its_hashes():
    pins: dict[str, tuple[str, int]] = {}
    for block in re.split(r"\n(?=[a-z0-9])", (PROJECT / "requirements.lock").read_text()):
        if match := re.match(r"([\w.-]+)==(\S+)", block):
            pins[canonicalize_name(match[1])] = match[2], block.count("--hash=sha256:")
    assert len(required()) > 25
    for requirement in required():
        version, hashes = pins[canonicalize_name(requirement.name)]
        assert version in requirement.specifier, f"requirements.lock has {requirement.name} {version}: make lock"
        assert hashes, requirement.name


def test_the_folders_are_no_packages_of_a_person_s_environment(tmp_path):
    program = (
        "import tickmesh.bus.wire, importlib.util as u; print([n for n in ('bus','nodes','storage','tools') if u.find_spec(n)])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
