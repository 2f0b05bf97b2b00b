"""Headless Chromium, for pages that must work in a real browser."""

import contextlib
import fcntl
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
#: Events by which a page complains.
COMPLAINTS = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")


@dataclass
class Browser:
    """A page in headless Chromium, spoken to over a pipe by the DevTools protocol."""

    write: int
    read: Any
    session: str | None = None
    reported: list[dict] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def call(self, method: str, **parameters: Any) -> dict:
        """Call a method of the protocol and wait for its answer; what else comes meanwhile is kept in `reported`."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        os.write(
            self.write, json.dumps(message | ({"sessionId": self.session} if self.session else {})).encode() + b"\0"
        )
        while True:
            text = bytearray()
            while (byte := self.read.read(1)) != b"\0":
                assert byte, "the browser has gone"
                text += byte
            answer = json.loads(text)
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self.reported.append(answer)

    def open(self, page: Path, *, width: int, height: int) -> None:
        """Open a file in a window of a certain size and wait until it is there."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Page", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Page.navigate", url=page.as_uri())
        self.wait_for("document.readyState === 'complete' && document.URL !== 'about:blank'")

    def evaluate(self, expression: str) -> Any:
        """What an expression in the page comes to."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Wait until an expression comes true, for 20 seconds at most."""
        deadline = time.monotonic() + 20
        while not self.evaluate(expression):
            assert time.monotonic() < deadline, f"never came true: {expression}"
            time.sleep(0.05)

    def press(self, key: str) -> None:
        """Press a key and let it go."""
        given = {"key": key, "text": key} if len(key) == 1 else {"key": key, "code": key}
        self.call("Input.dispatchKeyEvent", type="keyDown", **given)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def requests(self) -> list[str]:
        """Addresses that were asked for."""
        return [r["params"]["request"]["url"] for r in self.reported if r.get("method") == "Network.requestWillBeSent"]

    def complaints(self) -> list[dict]:
        """What the page has complained of."""
        return [r for r in self.reported if r.get("method") in COMPLAINTS]


@contextlib.contextmanager
def open_browser(folder: Path) -> Iterator[Browser]:
    """Start headless Chromium with a profile in a folder; skip the test where there is none."""
    if CHROMIUM is None or os.name != "posix":
        pytest.skip("no Chromium here to open the page with: install the package chromium")
    (read, their_write), (their_read, write) = os.pipe(), os.pipe()
    # The browser expects its pipe at 3 and 4; keep clear of both while moving it there.
    far_read, far_write = (fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (their_read, their_write))
    options = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking mute-audio"
    options += " disable-component-update disable-sync remote-debugging-pipe autoplay-policy=user-gesture-required"
    process = subprocess.Popen(
        [CHROMIUM, *(f"--{option}" for option in options.split()), f"--user-data-dir={folder / 'profile'}"],
        stderr=subprocess.DEVNULL,
        pass_fds=(3, 4),
        preexec_fn=lambda: (os.dup2(far_read, 3), os.dup2(far_write, 4)),
    )
    for fd in (their_read, their_write, far_read, far_write):
        os.close(fd)
    incoming = os.fdopen(read, "rb")
    try:
        yield Browser(write, incoming)
    finally:
        process.kill()
        process.wait()
        incoming.close()
        os.close(write)
