"""What the gateway writes into the run folder: its address, run/gateway.json, and the token, run/gateway.token."""

import os
import secrets
import stat
from pathlib import Path

import msgspec

from tickmesh.bus.config import Config
from tickmesh.bus.files import process_start
from tickmesh.bus.process import NodeFault

ADDRESS, TOKEN = "gateway.json", "gateway.token"
TOKEN_CHARACTERS = 43  # of 32 random bytes


class GatewayAddress(msgspec.Struct):
    """Where this mesh's gateway is. `started`: when the process `pid` began; `mesh`: the run folder that it belongs to."""

    url: str
    port: int
    pid: int = 0
    started: str = ""
    mesh: str = ""


def write_address(config: Config, url: str, port: int) -> None:
    """Writes run/gateway.json: this process is the mesh's gateway, at `url`."""
    mine = GatewayAddress(url, port, os.getpid(), process_start(os.getpid()), _identity(config))
    _write(config.run_dir / ADDRESS, msgspec.json.encode(mine))


def read_address(config: Config) -> GatewayAddress | None:
    """Where this mesh's gateway is; None where none runs that has begun to answer."""
    found = _address(config)
    return found if found is not None and process_start(found.pid) == found.started else None


def port_before(config: Config) -> int:
    """The port of this mesh's last gateway, so that the next one is found where it was; 0: there was none."""
    found = _address(config)
    return found.port if found is not None and 0 < found.port < 65_536 else 0


def keep_token(config: Config) -> str:
    """The token of run/gateway.token; a new one is written where there is none, or one that others could read or write."""
    path = config.run_dir / TOKEN
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(fd) as file:
            state = os.fstat(fd)
            private = stat.S_IMODE(state.st_mode) & 0o077 == 0 and state.st_uid == os.getuid()
            token = file.read(200).strip()
        if private and len(token) >= TOKEN_CHARACTERS and token.isascii():
            return token
    except (OSError, UnicodeDecodeError):
        pass
    token = secrets.token_urlsafe(32)
    _write(path, f"{token}\n".encode())
    return token


def _write(path: Path, content: bytes) -> None:
    """Writes a file that its owner alone reads, whole or not at all. Raises NodeFault."""
    fresh = path.with_suffix(f"{path.suffix}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        fresh.replace(path)
    except OSError as error:
        raise NodeFault(f"{path} cannot be written: {error.strerror}; make room or permit it") from None


def _address(config: Config) -> GatewayAddress | None:
    try:
        found = msgspec.json.decode((config.run_dir / ADDRESS).read_bytes(), type=GatewayAddress)
    except (OSError, msgspec.DecodeError):
        return None
    return found if found.mesh == _identity(config) else None


def _identity(config: Config) -> str:
    return str(config.run_dir.resolve())
