"""Drives a headless Chromium by its DevTools protocol over two pipes, with the standard library alone."""

import json
import os
import select
import shutil
import subprocess
import time

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, which is not installed")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
FLAGS += ["--remote-debugging-pipe", "--no-first-run", "--disable-background-networking"]
WAIT_S = 60


class Browser:
    """A tab.

    Attributes
    ----------
    errors : what scripts raised, the console's errors and what the page's own policy refused, so far.
    asked : URLs that the page asked for, without those of data that it holds itself.
    """

    def __init__(self, profile):
        (theirs, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()

        # what it says goes to a file: a pipe that nobody reads would fill up
        self._log = (profile.parent / f"{profile.name}.log").open("wb")
        pipes = f'exec "$@" 3<&{theirs} 4>&{theirs_out}'  # as the protocol has them
        command = ["bash", "-c", pipes, "-", CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            command, pass_fds=(theirs, theirs_out), stdout=self._log, stderr=subprocess.STDOUT
        )
        os.close(theirs)
        os.close(theirs_out)
        self._in, self._out, self._buffer, self._number = ours_in, ours_out, b"", 0
        self._session, self._loaded = None, 0
        self.errors, self.asked = [], []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        """Call a method of the protocol; return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + WAIT_S
        while (answer := self._read(end)).get("id") != self._number:
            self._hear(answer)
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def _read(self, end):
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0, end - time.monotonic()))
            data = os.read(self._in, 1 << 16) if ready else b""
            assert data, f"Chromium says nothing more, see {self._log.name}"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(line)

    def _hear(self, event):
        params, name = event.get("params", {}), event.get("method")
        if name == "Page.loadEventFired":
            self._loaded += 1
        elif name == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"].get("exception", params["exceptionDetails"]))
        elif name == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])
        elif name == "Network.requestWillBeSent" and not params["request"]["url"].startswith("data:"):
            self.asked.append(params["request"]["url"])

    def look(self, width=1280, *, dark=False):
        """Be a screen of some width (a phone below 600), light or dark."""
        phone = width < 600
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1 + phone, mobile=phone
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, url):
        """Open a page and wait until it has loaded."""
        self.errors, self.asked, before = [], [], self._loaded
        self.call("Page.navigate", url=url)
        end = time.monotonic() + WAIT_S
        while self._loaded == before:
            self._hear(self._read(end))

    def run(self, script):
        """Return the value of an expression in the page, awaited."""
        done = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait(self, script):
        """Wait until an expression in the page is true."""
        end = time.monotonic() + WAIT_S
        while not self.run(f"!!({script})"):
            assert time.monotonic() < end, f"never came: {script}"
            time.sleep(0.02)

    def mouse(self, *points):
        """Press at the first point, move through the others, and let go."""
        kinds = ["mousePressed", *["mouseMoved"] * (len(points) - 1), "mouseReleased"]
        for kind, (x, y) in zip(kinds, [*points, points[-1]], strict=True):
            button = {"button": "left", "buttons": int(kind != "mouseReleased"), "clickCount": 1}
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)

    def close(self):
        """End it."""
        self._process.terminate()
        self._process.wait(WAIT_S)
        os.close(self._in)
        os.close(self._out)
        self._log.close()
