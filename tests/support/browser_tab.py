"""A tab of a headless Chromium that a test drives step by step over the DevTools protocol: looks, clicks, keys, screenshots."""

import base64
import contextlib
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

from tests.support.browser import BROWSER, FLAGS
from tests.support.mesh_run import until

SIZES = {"desktop": (1440, 1000, False), "phone": (390, 844, True)}  # width, height, whether it is a phone


class BrowserTab:
    """One tab. `requested`: the addresses that it has asked for; `complaints`: exceptions and errors of its console.

    `received`: what came over websockets, message by message, while `keeps_messages`.
    """

    def __init__(self, profile: Path):
        words = [str(BROWSER), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self._profile = profile
        self._browser = subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        port = profile / "DevToolsActivePort"
        until(lambda: port.exists() and "\n" in port.read_text(), "the browser has started")
        with urllib.request.urlopen(f"http://127.0.0.1:{port.read_text().split()[0]}/json") as answer:
            (tab,) = [one for one in json.load(answer) if one["type"] == "page"]
        self._open = contextlib.ExitStack()
        self._socket = self._open.enter_context(connect(tab["webSocketDebuggerUrl"], max_size=None, ping_interval=None))
        self._number = 0
        self.requested: list[str] = []
        self.complaints: list[str] = []
        self.received: list[str] = []
        self.keeps_messages = False
        for domain in ("Runtime", "Log", "Page", "Network"):
            self.command(f"{domain}.enable")

    def end(self) -> None:
        """Ends the browser, and removes its profile."""
        self._open.close()
        self._browser.terminate()
        self._browser.wait(20)
        shutil.rmtree(self._profile, ignore_errors=True)

    def command(self, method: str, **values: Any) -> Any:
        """Gives a command and waits for its answer."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": values}))
        while True:
            message = json.loads(self._socket.recv(timeout=60))
            self._take(message)
            if message.get("id") == self._number:
                assert "error" not in message, (method, message)
                return message["result"]

    def _take(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        if message.get("method") in ("Network.requestWillBeSent", "Network.webSocketCreated"):
            self.requested.append(params["request"]["url"] if "request" in params else params["url"])
        if message.get("method") == "Network.webSocketFrameReceived" and self.keeps_messages:
            self.received.append(params["response"]["payloadData"])
        if message.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params)[:500])
        if message.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(json.dumps(params["entry"])[:500])

    def open(self, url: str) -> None:
        """Opens an address."""
        self.command("Page.navigate", url=url)

    def value(self, text: str) -> Any:
        """The value of a JavaScript expression; None while the page is loaded anew."""
        try:
            answer = self.command("Runtime.evaluate", expression=text, awaitPromise=True, returnByValue=True)
        except AssertionError:
            return None
        return answer["result"].get("value")

    def text(self, part: str) -> str:
        """The text of a part of the page, by its `data-part` or `data-value`; "" where it is not there."""
        return self.value(f"document.querySelector('[data-part={part}],[data-value={part}]')?.innerText ?? ''") or ""

    def wait(self, text: str, what: str, seconds: float = 30.0) -> Any:
        """Waits until an expression is true; gives its value."""
        shown = "document.body.innerText"
        return until(lambda: self.value(text), lambda: f"{what}\n{self.complaints[-5:]}\n{self.value(shown)}", seconds)

    def wait_text(self, part: str, condition: Any, what: str, seconds: float = 30.0) -> str:
        """Waits until the text of a part fulfils a condition; gives it."""
        last = ""

        def fulfilled() -> str:
            nonlocal last
            last = self.text(part)
            return last if condition(last) else ""

        return until(fulfilled, lambda: f"{what}; {part} is {last!r}\n{self.complaints[-5:]}", seconds)

    def press(self, *keys: str) -> None:
        """Presses keys, one after another."""
        for key in keys:
            text = {"Enter": "\r", "Space": " "}.get(key, key if len(key) == 1 else "")
            name = " " if key == "Space" else key
            codes = {"Tab": 9, "Enter": 13, "Escape": 27, "Space": 32, "ArrowDown": 40}
            common = {"key": name, "code": key, "windowsVirtualKeyCode": codes.get(key, 0)}
            self.command("Input.dispatchKeyEvent", type="keyDown", **common, **({"text": text} if text else {}))
            self.command("Input.dispatchKeyEvent", type="keyUp", **common)

    def click(self, selector: str) -> None:
        """Clicks the middle of what a selector finds, once it is there, with the mouse."""
        self.wait(f"!!document.querySelector({selector!r})", f"there is {selector}")
        self.value(f"document.querySelector({selector!r}).scrollIntoView({{block: 'center'}})")
        where = self.value(
            f"(() => {{ const r = document.querySelector({selector!r}).getBoundingClientRect();"
            " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.command("Input.dispatchMouseEvent", type=kind, x=where[0], y=where[1], button="left", clickCount=1)

    def look(self, size: str, scheme: str) -> None:
        """Sets the window's size (of SIZES) and whether the system is dark or light."""
        width, height, phone = SIZES[size]
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path: Path, quality: int = 80, whole: bool = False) -> None:
        """Writes what can be seen, or the whole page, as a picture (WebP or PNG by the file's name)."""
        kind = path.suffix.removeprefix(".")
        more = {"quality": quality} if kind != "png" else {}

        def taken() -> str:
            """Not while the page is drawn anew at another size, or loaded anew: then the browser has no picture of it."""
            with contextlib.suppress(AssertionError):
                return self.command("Page.captureScreenshot", format=kind, captureBeyondViewport=whole, **more)["data"]
            return ""

        data = until(taken, "the browser gives a picture")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(data))

    def settled(self, seconds: float = 0.3) -> None:
        """Waits until the page has drawn two frames, and nothing that fades is under way."""
        deadline = time.monotonic() + seconds
        self.value("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(() => r(1))))")
        while time.monotonic() < deadline:
            self.value("new Promise(r => requestAnimationFrame(() => r(1)))")
