"""A page in a real browser, where one is installed: opened without a network, asked by its own DevTools protocol."""

import asyncio
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import websockets

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--remote-debugging-port=0", "--window-size=1280,900",
)  # fmt: skip


def ask_page(page: Path, profile: Path, ready: str, questions: list[str]) -> tuple[list[Any], list[str]]:
    """Opens a page, waits until the JavaScript `ready` is true; gives the answers to the questions, and its complaints."""
    words = [str(BROWSER), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as browser:
        try:
            return asyncio.run(_ask(page, profile / "DevToolsActivePort", ready, questions))
        finally:
            browser.terminate()
            browser.wait(20)


async def _ask(page: Path, port: Path, ready: str, questions: list[str]) -> tuple[list[Any], list[str]]:
    deadline = time.monotonic() + 60
    while not (port.exists() and "\n" in port.read_text()):
        assert time.monotonic() < deadline, "the browser did not start"
        await asyncio.sleep(0.05)
    with urllib.request.urlopen(f"http://127.0.0.1:{port.read_text().split()[0]}/json") as answer:
        (tab,) = [one for one in json.load(answer) if one["type"] == "page"]
    complaints: list[str] = []
    async with websockets.connect(tab["webSocketDebuggerUrl"], max_size=None) as socket:
        number = 0

        async def command(method: str, **values: Any) -> Any:
            nonlocal number
            number += 1
            await socket.send(json.dumps({"id": number, "method": method, "params": values}))
            while True:
                message = json.loads(await socket.recv())
                if message.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                    complaints.append(json.dumps(message["params"]))
                if message.get("id") == number:
                    return message.get("result", message)

        async def value(text: str) -> Any:
            return (await command("Runtime.evaluate", expression=text, awaitPromise=True, returnByValue=True))["result"].get(
                "value"
            )

        await command("Runtime.enable")
        await command("Log.enable")
        await command("Page.navigate", url=page.as_uri())
        while not await value(ready):
            assert time.monotonic() < deadline, f"the page is not ready: {complaints}"
            await asyncio.sleep(0.05)
        return [await value(question) for question in questions], complaints
