"""Brings one message to one receiver: by HTTP, by a program, or by Apprise. Raises Undelivered with what it said."""

import asyncio
import contextlib
import logging
import os
import stat
from pathlib import Path

import aiohttp
import msgspec

from tickmesh.bus.settings_alerts import NotifySettings
from tickmesh.nodes.notifier.plan import Dispatch

PATIENCE_S = 15.0
SAID_BYTES = 300  # of an answer or of a program's last words, in a sentence
NO_APPRISE = "Apprise is not installed: pip install 'tickmesh[notify]'"


class Undelivered(Exception):
    """Why a message did not arrive, as a sentence without the receiver's address, which may hold a password."""


async def deliver(settings: NotifySettings, root: Path, message: Dispatch) -> None:
    """Delivers `message` within PATIENCE_S. `root`: the folder of mesh.toml. Raises Undelivered."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            if settings.to == "webhook":
                await _post(address_of(settings, root), message)
            elif settings.to == "command":
                await _run(settings.command, root, message)
            else:
                await asyncio.to_thread(_by_apprise, address_of(settings, root), message)
    except TimeoutError:
        raise Undelivered(f"no answer within {PATIENCE_S:g} s") from None


def address_of(settings: NotifySettings, root: Path) -> str:
    """The address, from mesh.toml or from the file that it names. Raises Undelivered for a file that others may read."""
    if settings.url:
        return settings.url
    path = root / settings.url_file
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno())
            lines = file.read(4096).decode().split()
    except (OSError, UnicodeDecodeError) as error:
        raise Undelivered(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if mode.st_uid != os.getuid() or stat.S_IMODE(mode.st_mode) & 0o077:
        raise Undelivered(f"{path} has the mode {stat.S_IMODE(mode.st_mode):04o}: others may read the address; chmod 600")
    if len(lines) != 1:
        raise Undelivered(f"{path} has {len(lines)} words: it is to hold the address and nothing else")
    return lines[0]


async def _post(url: str, message: Dispatch) -> None:
    headers = {"Content-Type": "application/json", "User-Agent": "tickmesh"}
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, data=msgspec.json.encode(message), headers=headers, allow_redirects=False) as answer,
        ):
            if not 200 <= answer.status < 300:
                said = (await answer.content.read(SAID_BYTES)).decode(errors="replace").strip()
                raise Undelivered(f"it answered {answer.status} {answer.reason}: {said}")
    except aiohttp.InvalidURL:
        raise Undelivered("its url is none") from None
    except (aiohttp.ClientError, OSError) as error:
        raise Undelivered(_words(error)) from None


def _words(error: Exception) -> str:
    """What a network refused, without the address."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    return str(getattr(cause, "strerror", None) or type(error).__name__)


async def _run(command: tuple[str, ...], root: Path, message: Dispatch) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=root, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise Undelivered(f"{command[0]} cannot be started: {error.strerror}") from None
    try:
        said = await _spoken_with(process, msgspec.json.encode(message) + b"\n")
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            await process.wait()
    if process.returncode:
        raise Undelivered(f"{command[0]} ended with {process.returncode}: {said.decode(errors='replace').strip()}")


async def _spoken_with(process: asyncio.subprocess.Process, text: bytes) -> bytes:
    """Gives a program its input and waits for its end; the last SAID_BYTES of what it said, however much that was."""
    assert process.stdin is not None and process.stderr is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it need not read
        process.stdin.write(text)
        await process.stdin.drain()
    process.stdin.close()
    said = b""
    while part := await process.stderr.read(1 << 16):
        said = (said + part)[-SAID_BYTES:]
    await process.wait()
    return said


def _by_apprise(url: str, message: Dispatch) -> None:
    try:
        import apprise
    except ImportError:
        raise Undelivered(NO_APPRISE) from None
    service = apprise.Apprise()
    if not service.add(url):
        raise Undelivered("Apprise does not know such an address: https://github.com/caronc/apprise lists them")
    kind = {"critical": apprise.NotifyType.FAILURE, "warning": apprise.NotifyType.WARNING}.get(
        message.level, apprise.NotifyType.INFO
    )
    if message.phase == "is over":
        kind = apprise.NotifyType.SUCCESS
    title = f"{message.mesh}: {message.target}: {message.what.replace('_', ' ')} {message.phase}"
    with apprise.LogCapture(level=logging.WARNING) as log:  # type: ignore[no-untyped-call]
        if not service.notify(body=message.text, title=title, notify_type=kind):
            said = " ".join(log.getvalue().split())
            raise Undelivered(f"the service took no message{': ' + said[:SAID_BYTES] if said else ''}")
