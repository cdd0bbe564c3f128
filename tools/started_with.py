"""run/settings.json: what the running mesh was started with, for who looks at it or ends it while mesh.toml is wrong."""

from pathlib import Path

import msgspec

from tickmesh.bus.config import Config, ConfigError, load
from tickmesh.bus.files import write_file
from tickmesh.bus.settings import Mesh

FILE = "run/settings.json"


def remember(config: Config) -> None:
    """Writes the settings as they are applied: mesh.toml's, and what flags of `mesh up` chose."""
    write_file(config.root / FILE, msgspec.json.encode(config.mesh))


def recall(root: Path) -> Config | None:
    """The settings that were applied last; None where none were kept, or by a version that writes others."""
    try:
        return Config(msgspec.json.decode((root / FILE).read_bytes(), type=Mesh), root)
    except (OSError, msgspec.DecodeError):
        return None


def in_force(root: Path) -> tuple[Config | None, ConfigError | None]:
    """(the settings of mesh.toml, None); where it is wrong, those applied last or None, and what is wrong."""
    try:
        return load(root), None
    except ConfigError as error:
        return recall(root), error
