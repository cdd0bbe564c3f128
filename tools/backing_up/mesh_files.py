"""Which files make up a mesh beside its data: settings, what they name, models, operator's logs; and which are secrets.

A backup has the same layout whatever mesh.toml says of places: data in `data/`, models in `models/`.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tickmesh.bus.config import Config
from tickmesh.bus.names import KILL_SWITCH_FILE
from tickmesh.nodes.gateway.run_files import TOKEN

DATA, MODELS = "data", "models"  # folders in a backup
SETTINGS = ("mesh.toml", "supervisor.conf")
RUN = ("overrides.json", KILL_SWITCH_FILE)  # of run/: what outlives a mesh that is down
CONFIRMED = "confirmed.json"
CACHES = {  # of a source's folder: why they are no part of a backup
    "recent": "a cache, filled again from the log",
    "outbox": "events that were on their way to the log: as after a power cut",
    "export": "`mesh export` makes it again, but for days that were pruned: copy those yourself",
    CONFIRMED: "a copy of a mesh confirms no live trading",
}
SECRET = "a secret: --secrets takes it"


class MeshFile(NamedTuple):
    """A file of a mesh: where it is, and its name in a backup."""

    path: Path
    name: str


def files_of(config: Config, secrets: bool, left_out: dict[str, str]) -> Iterator[MeshFile]:
    """The files beside the data; into `left_out` goes what is none of the backup's, by its path, with the reason."""
    root = config.root
    for name in SETTINGS:
        if (root / name).is_file():
            yield MeshFile(root / name, name)
    named = dict.fromkeys(_named(config), "") | dict.fromkeys(_secrets(config), SECRET)
    for path, secret in named.items():
        place = root / path
        if not place.is_file():
            continue
        if secret and not secrets:
            left_out[path] = secret
        elif not place.resolve().is_relative_to(root.resolve()) or Path(path).is_absolute():
            left_out[path] = "it lies outside of the mesh's folder"
        else:
            yield MeshFile(place, os.path.normpath(path))
    for capture in config.exchange.replay:
        left_out[capture] = "a capture, which is not the mesh's"
    yield from _below(config.models_dir, MODELS)
    for name in RUN:
        if (config.run_dir / name).is_file():
            yield MeshFile(config.run_dir / name, f"run/{name}")
    yield from _below(config.run_dir / "logs", "run/logs")


def _named(config: Config) -> Iterator[str]:
    """Files that the settings name and that anybody may read."""
    exchange = config.exchange
    named = [one.ca for one in config.venues.values()]
    yield from filter(None, (*named, config.gateway.tls_certificate, exchange.ed25519_public_key, exchange.latencies))


def _secrets(config: Config) -> Iterator[str]:
    """Files with keys, passwords and tokens."""
    accounts = [one.key_file for one in config.session.accounts.values()]
    receivers = [one.url_file for one in config.notify]
    token = os.path.relpath(config.run_dir / TOKEN, config.root)
    yield from filter(None, (config.session.key_file, *accounts, config.gateway.tls_key, *receivers, token))


def _below(folder: Path, name: str) -> Iterator[MeshFile]:
    """The files in a folder and below it; nothing that Python or an editor has made."""
    for above, folders, names in os.walk(folder):
        folders[:] = sorted(one for one in folders if one != "__pycache__" and not one.startswith("."))
        inside = os.path.normpath(os.path.join(name, os.path.relpath(above, folder)))
        for one in sorted(names):
            if not one.startswith("."):
                yield MeshFile(Path(above) / one, f"{inside}/{one}")
