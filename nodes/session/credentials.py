"""The key by which a session signs: of the local exchange, from a file that only its owner can read, or of the environment."""

import os
import stat
import tempfile
import tomllib
from hashlib import sha256
from pathlib import Path

from tickmesh.bus.config import Config
from tickmesh.bus.process import NodeFault
from tickmesh.bus.settings import AccountSettings
from tickmesh.nodes.orders.accounts import session_name
from tickmesh.nodes.venues.binance_signing import KeyUnusable, ed25519_signer, hmac_signer
from tickmesh.nodes.venues.order_venue import Signer

KEY, SECRET, PRIVATE_KEY = "TICKMESH_API_KEY", "TICKMESH_API_SECRET", "TICKMESH_PRIVATE_KEY"  # in the environment
NAMES = {"api_key", "secret", "private_key"}  # in the file


class CredentialsUnusable(NodeFault):
    """Why there is no key to sign with; the sentence never contains one."""


class Credentials:
    """An account's public key, and what signs for it. Neither is ever shown: not in a text of this object, not in errors.

    `local`: it is the local exchange's, which every mesh has for itself.
    """

    def __init__(self, api_key: str, sign: Signer, local: bool = False):
        self.api_key = api_key
        self.sign = sign
        self.local = local

    def __repr__(self) -> str:
        return "Credentials(…)"


def read_credentials(config: Config, venue: str) -> Credentials:
    """The credentials of the mesh's account at a venue. Raises CredentialsUnusable.

    `[session.accounts.<venue>] key_file`, else `[session] key_file`, names a TOML file with `api_key` and either `secret`
    (HMAC) or `private_key` (Ed25519, PEM). Without one the mode decides: sim signs as `[exchange]` says, every other mode by
    the environment: by the variables of the venue (TICKMESH_API_KEY_BINANCE_USDM), else by those without its name.
    """
    named = config.session.accounts.get(venue, AccountSettings()).key_file or config.session.key_file
    if named:
        path = config.root / named
        return _credentials(_read_file(path), str(path))
    if config.mode == "sim":
        return Credentials(config.exchange.api_key, hmac_signer(config.exchange.api_secret), local=True)
    variables = {"api_key": KEY, "secret": SECRET, "private_key": PRIVATE_KEY}
    suffix = f"_{venue.upper()}" if os.environ.get(f"{KEY}_{venue.upper()}") else ""
    found = {name: os.environ.get(f"{variable}{suffix}", "") for name, variable in variables.items()}
    return _credentials(found, f"the environment ({KEY}{suffix}, and {SECRET}{suffix} or {PRIVATE_KEY}{suffix})")


def account_locks(config: Config, credentials: Credentials, venue: str) -> list[Path]:
    """The files that a session locks: of this mesh, and of its account, of which all meshes of this user know."""
    mine = [config.run_dir / f"{session_name(venue)}.lock"]
    if not credentials.local:
        name = sha256(f"{venue} {credentials.api_key}".encode()).hexdigest()[:16]
        mine.append(Path(tempfile.gettempdir()) / f"tickmesh-accounts-{os.getuid()}" / f"{name}.lock")
    return mine


def _read_file(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno())
            if mode.st_uid != os.getuid() or stat.S_IMODE(mode.st_mode) & 0o077:
                readable = f"{path} has the mode {stat.S_IMODE(mode.st_mode):04o}: others may read the key"
                raise CredentialsUnusable(f"{readable}. It should be owned by who runs the mesh: chmod 600 {path}")
            content = tomllib.load(file)
    except OSError as error:
        raise CredentialsUnusable(f"session.key_file: {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise CredentialsUnusable(
            f"{path} is no TOML file; it should have api_key and secret, or api_key and private_key"
        ) from None
    if strange := sorted(content.keys() - NAMES):
        raise CredentialsUnusable(f"{path} has {', '.join(strange)}; allowed are {', '.join(sorted(NAMES))}")
    if not all(isinstance(value, str) for value in content.values()):
        raise CredentialsUnusable(f"{path}: every value is a text in quotes")
    return content


def _credentials(found: dict[str, str], where: str) -> Credentials:
    secret, private_key = found.get("secret", ""), found.get("private_key", "")
    if not found.get("api_key") or bool(secret) == bool(private_key):
        raise CredentialsUnusable(f"{where} should have api_key, and one of secret (HMAC) and private_key (Ed25519)")
    try:
        return Credentials(found["api_key"], hmac_signer(secret) if secret else ed25519_signer(private_key))
    except KeyUnusable as error:
        raise CredentialsUnusable(f"{where}: {error}") from None
