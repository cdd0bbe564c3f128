"""What is judged of a machine and of the libraries: each planted fact is found by name, and a healthy machine is clean."""

from dataclasses import replace
from importlib.metadata import version

import pytest

from tests.support.healthy_machine import HEALTHY
from tickmesh.tools.diagnosis.check import FAIL, OK, WARN
from tickmesh.tools.diagnosis.installation import libraries, of_requirements
from tickmesh.tools.diagnosis.machine import UNLIMITED, read_machine
from tickmesh.tools.diagnosis.machine_checks import ANY, Needs, judged

MIB = 1 << 20


def troubles(machine, needs=ANY):
    """Name → grade of what is not ok."""
    return {one.name: one.grade for one in judged(machine, needs) if one.grade != OK}


def test_a_healthy_machine_is_clean_and_nothing_is_to_be_done_there():
    assert troubles(HEALTHY) == {}
    assert {one.do for one in judged(HEALTHY, ANY)} == {""}


@pytest.mark.parametrize(
    ("name", "grade", "facts"),
    [
        ("python", FAIL, {"python": (3, 10, 12)}),
        ("system", FAIL, {"system": "Darwin"}),
        ("clock.ntp", WARN, {"synced": False}),
        ("clock.ntp", WARN, {"synced": None}),
        ("clock.ntp", WARN, {"error_ms": 400.0}),
        ("clock.pace", WARN, {"drift_ms": -20.0}),
        ("memory", WARN, {"memory_available": 600 * MIB}),
        ("memory", FAIL, {"memory_limit": 256 * MIB}),
        ("memory.swap", WARN, {"swap_used": 4096 * MIB}),
        ("shm", WARN, {"shm_total": -1, "shm_free": -1}),
        ("shm", WARN, {"shm_total": 4 * MIB, "shm_free": 4 * MIB}),
        ("shm", WARN, {"shm_free": 1 * MIB}),
        ("limits.open_files", WARN, {"open_files": 512}),
        ("limits.open_files", FAIL, {"open_files": 100}),
        ("limits.processes", WARN, {"processes": 400}),
        ("limits.core_dumps", WARN, {"core_bytes": UNLIMITED}),
        ("cpu.count", WARN, {"cpus": 1}),
        ("cpu.count", WARN, {"cpu_limit": 0.5}),
        ("cpu.governor", WARN, {"governors": ("performance", "powersave")}),
        ("cpu.load", WARN, {"load": 30.0}),
    ],
)
def test_a_planted_fact_is_found_by_name_with_what_to_do(name, grade, facts):
    machine = replace(HEALTHY, **facts)
    assert troubles(machine) == {name: grade}
    (found,) = [one for one in judged(machine, ANY) if one.grade != OK]
    assert found.seen and found.allowed and found.do


def test_what_is_enough_depends_on_the_mesh():
    """64 MiB of /dev/shm, what a container has, are enough for a small mesh and not for one of 300 lines and models."""
    machine = replace(HEALTHY, shm_total=64 * MIB, shm_free=64 * MIB)
    assert troubles(machine) == {} and set(troubles(machine, Needs(310, 310))) == {"shm", "memory", "limits.open_files"}


def test_this_machine_can_be_looked_up(tmp_path):
    machine = read_machine(tmp_path / "not-there")
    assert machine.shm_total == -1 and machine.threads >= 1 and 0 < machine.memory_available <= machine.memory_total
    assert read_machine(tmp_path).shm_total > 0


def test_libraries_are_judged_by_their_ranges():
    assert [one.grade for one in libraries()] == [OK], "of what CI installs"
    numpy = version("numpy")
    lines = [
        f"numpy>={numpy}", "numpy<1", "frob>=2", 'frob>=2; extra == "dev"', 'numpy<2; extra == "dev"',
        'frob; python_version < "3"', "no requirement !",
    ]  # fmt: skip
    found = list(of_requirements(lines))
    assert [(one.name, one.grade, one.allowed) for one in found] == [
        ("libraries.numpy", WARN, "numpy <1"), ("libraries.frob", FAIL, ">=2"), ("libraries.numpy", WARN, "numpy <2"),
    ]  # fmt: skip
    assert found[0].seen == f"numpy {numpy}"
