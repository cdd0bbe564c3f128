"""Whether the libraries of this environment are those that setup.cfg allows."""

from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import InvalidRequirement, Requirement

from tickmesh.tools.diagnosis.check import FAIL, OK, WARN, Check

AGAIN = "install what was tried together: `make venv` in the project's folder, or `pip install -U tickmesh`"


def libraries() -> list[Check]:
    """The findings about every library that is missing or beyond its range; one that all is well where there is none."""
    stated = requires("tickmesh") or []
    found = list(of_requirements(stated))
    return found or [
        Check("libraries", OK, f"{len(stated)} libraries are as setup.cfg allows, or are not asked for", "its ranges")
    ]


def of_requirements(lines: Iterable[str]) -> Iterator[Check]:
    """Gives findings about requirements as metadata have them: of extras only what is there is judged."""
    for line in lines:
        try:
            wanted = Requirement(line)
        except InvalidRequirement:
            continue
        is_extra = wanted.marker is not None and "extra" in str(wanted.marker)
        if wanted.marker is not None and not is_extra and not wanted.marker.evaluate():
            continue
        name = f"libraries.{wanted.name}"
        try:
            there = version(wanted.name)
        except PackageNotFoundError:
            if not is_extra:
                yield Check(name, FAIL, f"{wanted.name} is not installed", str(wanted.specifier), AGAIN)
            continue
        if not wanted.specifier.contains(there, prereleases=True):
            yield Check(name, WARN, f"{wanted.name} {there}", f"{wanted.name} {wanted.specifier}", AGAIN)
