"""Keys come from the environment or from a file that only its owner can read; nothing shows them; one session per account."""

import asyncio
import json
import os
import resource
import tempfile
from base64 import b64decode
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from tests.support.places import KNOWN
from tests.support.session_scene import scenario
from tests.support.waiting import until
from tickmesh.bus.config import Config, load
from tickmesh.bus.log import LogReader
from tickmesh.bus.process import Context
from tickmesh.bus.settings import Mesh
from tickmesh.nodes.session import node as session
from tickmesh.nodes.session.credentials import CredentialsUnusable, account_locks, read_credentials

SECRET = "a-secret-that-nobody-sees"


def pem_of(key) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def key_file(folder: Path, mode: int = 0o600, **content) -> Path:
    path = folder / "key.toml"
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in content.items()))
    path.chmod(mode)
    return path


def config_of(folder: Path, **overrides):
    (folder / "mesh.toml").write_text(KNOWN)
    return load(folder, overrides)


def test_orders_are_signed_with_an_ed25519_key_over_websocket_and_rest(tmp_path):
    """The venue checks every signature with the public key."""
    key = ed25519.Ed25519PrivateKey.generate()
    key_file(tmp_path, api_key="public", private_key=pem_of(key))
    checked = []

    async def play(mesh, venue):
        def check(payload, signature):
            key.public_key().verify(b64decode(signature, validate=True), payload.encode())
            checked.append(payload)

        venue.check = check
        mesh.start()
        mesh.publish_intent("a")
        await until(lambda: mesh.states("a")[-1:] == ["New"])
        assert any("apiKey=public" in payload and "newClientOrderId=a" in payload for payload in checked)
        assert any("recvWindow=300&timestamp=" in payload for payload in checked), "over REST"
        with pytest.raises(InvalidSignature):
            key.public_key().verify(b64decode(read_credentials(mesh.config, "binance").sign("x")), b"y")
        logged = b"".join(bytes(event.raw) for event in LogReader(mesh.config.log_dir).events())
        assert b"PRIVATE" not in logged and b"public" not in logged
        assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 0

    scenario(tmp_path, play, started=False, key_file="key.toml")


def test_modes_but_sim_take_keys_from_the_environment(tmp_path, monkeypatch):
    config = Config(Mesh(mode="live"), tmp_path)  # mesh.toml cannot ask for it yet
    with pytest.raises(CredentialsUnusable, match="TICKMESH_API_KEY"):
        read_credentials(config, "binance")
    monkeypatch.setenv("TICKMESH_API_KEY", "public")
    monkeypatch.setenv("TICKMESH_API_SECRET", SECRET)
    found = read_credentials(config, "binance")
    assert found.api_key == "public" and SECRET not in repr(found) + str(vars(found))
    assert len(found.sign("x")) == 64 and not found.local
    assert read_credentials(config_of(tmp_path), "binance").local, "in mode sim they are not looked at"
    monkeypatch.setenv("TICKMESH_PRIVATE_KEY", pem_of(ed25519.Ed25519PrivateKey.generate()))
    with pytest.raises(CredentialsUnusable, match="one of secret"):
        read_credentials(config, "binance")


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        ({"api_key": "k", "secret": SECRET}, 0o640, "has the mode 0640: others may read the key.*chmod 600"),
        ({"api_key": "k"}, 0o600, "one of secret .HMAC. and private_key"),
        ({"secret": SECRET}, 0o600, "should have api_key"),
        (
            {"api_key": "k", "secret": SECRET, "passphrase": SECRET},
            0o600,
            "has passphrase; allowed are api_key, private_key, secret",
        ),
        ({"api_key": "k", "private_key": SECRET}, 0o600, "no PKCS#8 PEM"),
        ({"api_key": "k", "private_key": pem_of(ec.generate_private_key(ec.SECP256R1()))}, 0o600, "no Ed25519 key"),
    ],
)
def test_a_file_that_will_not_do_is_refused_with_a_sentence_that_has_no_key(tmp_path, content, mode, words):
    key_file(tmp_path, mode, **content)
    with pytest.raises(CredentialsUnusable, match=words) as refused:
        read_credentials(config_of(tmp_path, session={"key_file": "key.toml"}), "binance")
    assert all(line not in str(refused.value) for line in (SECRET, *content.get("private_key", SECRET).splitlines()[1:-1]))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CredentialsUnusable, match="nowhere.toml cannot be read: No such file"):
        read_credentials(config_of(tmp_path, session={"key_file": "nowhere.toml"}), "binance")


def test_two_meshes_with_one_account_do_not_trade_beside_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    configs = []
    for name in ("one", "two", "other"):
        (tmp_path / name).mkdir()
        key_file(tmp_path / name, api_key="theirs" if name == "other" else "ours", secret=SECRET)
        configs.append(config_of(tmp_path / name, session={"key_file": "key.toml"}))
    locks = [account_locks(config, read_credentials(config, "binance"), "binance") for config in configs]
    assert locks[0][1] == locks[1][1] != locks[2][1] and "ours" not in str(locks[0][1])
    held = session.lock(locks[0][1])

    async def start():
        ctx = Context(configs[1], "session")
        try:
            await session.run(ctx)
        finally:
            await ctx.close()

    with pytest.raises(session.SessionLocked, match="another session works on this account"):
        asyncio.run(start())
    held.close()
    assert os.stat(locks[0][1].parent).st_mode & 0o077 == 0
