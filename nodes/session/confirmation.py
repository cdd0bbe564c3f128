"""Whether a person has confirmed that orders go to a real venue by just these settings; kept beside their data."""

import hashlib
from pathlib import Path

import msgspec

from tickmesh.bus.config import Config
from tickmesh.bus.files import write_file
from tickmesh.bus.settings import REAL_ORDERS
from tickmesh.nodes.orders.accounts import account_venues

FILE = "confirmed.json"  # in the source's folder
# What decides which orders can leave, and where to: any change of it has to be confirmed anew.
SECTIONS = ("mode", "source", "executor", "strategies", "risk", "session", "venues", "models")


class Confirmation(msgspec.Struct):
    """What was confirmed: the digest of SECTIONS, and the folder, so that a copy of it confirms nothing."""

    digest: str
    folder: str


def is_needed(config: Config) -> bool:
    """Whether orders go to a real venue."""
    return config.mode in REAL_ORDERS


def text_to_type(config: Config) -> str:
    """What a person types to confirm: the names of the venues that orders go to, on their testnets with that word."""
    return " ".join([*account_venues(config), *(() if config.mode == "live" else (config.mode,))])


def confirm(config: Config) -> None:
    """Remembers that these settings are confirmed."""
    config.source_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_file(_path(config), msgspec.json.encode(_of(config)) + b"\n")


def is_confirmed(config: Config) -> bool:
    """Whether these settings are confirmed, in this folder."""
    try:
        return msgspec.json.decode(_path(config).read_bytes(), type=Confirmation) == _of(config)
    except (OSError, msgspec.DecodeError):
        return False


def _path(config: Config) -> Path:
    return config.source_dir / FILE


def _of(config: Config) -> Confirmation:
    said = msgspec.json.encode([getattr(config, name) for name in SECTIONS], order="sorted")
    return Confirmation(hashlib.sha256(said).hexdigest(), str(config.root.resolve()))
