"""A page in headless Chromium, driven over its debugging pipe: Chrome DevTools Protocol, JSON ended by a 0 byte."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SECONDS = 60.0


def chromium() -> str:
    """The program. Skips the test where there is none, but not in CI."""
    found = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
    )
    if not found and not os.environ.get("CI"):
        pytest.skip("no Chromium: apt-get install chromium")
    assert found, "CI needs Chromium"
    return found


class Navigated(Exception):
    """The browser left the page before it had answered."""


class Page:
    """One page of a running browser. `requests` and `complaints`: what it asked the network for, errors it reported."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self.to_browser, self.from_browser = to_browser, from_browser
        self.buffer, self.last = b"", 0
        self.session: str | None = None
        self.requests: list[str] = []
        self.complaints: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """The browser's answer to a command. What happens until it comes is noted."""
        self.last += 1
        message: dict[str, Any] = {"id": self.last, "method": method, "params": params}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self.last:
                if "navigated" in str(answer.get("error")):
                    raise Navigated(answer)
                assert "error" not in answer, answer
                return answer["result"]  # type: ignore[no-any-return]
            self._note(answer)

    def open(self, path: Path) -> None:
        """Loads a file and waits until its graph is laid out."""
        self.send("Page.navigate", url=path.resolve().as_uri())
        self.wait("document.body && document.body.dataset.ready")

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        result = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, script: str) -> Any:
        """The value of an expression as soon as it is true."""
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            with contextlib.suppress(Navigated):
                if value := self.run(script):
                    return value
            time.sleep(0.02)
        raise AssertionError(f"not true after {SECONDS} s: {script}; the page said {self.complaints}")

    def key(self, key: str, text: str = "") -> None:
        """Presses and releases a key."""
        code = {"Enter": 13, "Tab": 9, "Escape": 27, " ": 32}.get(key, 0)
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, text=text, windowsVirtualKeyCode=code)

    def click(self, selector: str) -> None:
        """Clicks with the mouse on the middle of an element."""
        place = self.run(
            f"(() => {{const r = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
            "return [r.left + r.width / 2, r.top + r.height / 2]})()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.from_browser], [], [], SECONDS)
            assert ready, "the browser does not answer"
            read = os.read(self.from_browser, 1 << 16)
            assert read, "the browser ended"
            self.buffer += read
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)  # type: ignore[no-any-return]

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event["method"] == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif event["method"] in ("Runtime.exceptionThrown", "Log.entryAdded") or (
            event["method"] == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning")
        ):
            self.complaints.append(json.dumps(params))


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A page of a browser that is started for it and keeps its files in `profile`."""
    command = [chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--window-size=1280,860"]
    command += [f"--user-data-dir={profile}", "--remote-debugging-pipe"]
    (read_commands, to_browser), (from_browser, write_answers) = os.pipe(), os.pipe()

    def as_3_and_4() -> None:
        read, write = os.dup(read_commands), os.dup(write_answers)
        os.dup2(read, 3)
        os.dup2(write, 4)

    process = subprocess.Popen(
        command, preexec_fn=as_3_and_4, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(read_commands)
    os.close(write_answers)
    try:
        yield Page(to_browser, from_browser)
    finally:
        process.kill()
        process.wait()
        os.close(to_browser)
        os.close(from_browser)
