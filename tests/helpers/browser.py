"""Drive a headless Chromium over the WebDriver protocol, with the standard library only."""

import base64
import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
)
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's name of a reference
KEYS = {"left": "\ue012", "up": "\ue013", "right": "\ue014", "down": "\ue015", "tab": "\ue004", "end": "\ue010"}


class Browser:
    """One window. ``dark`` and ``still`` are preferences of the reader's system; a narrow window has a touch screen."""

    def __init__(self, width=1280, height=900, dark=False, still=False):
        self._profile = tempfile.TemporaryDirectory()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen([DRIVER, f"--port={port}"], **quiet)
        self._base = f"http://127.0.0.1:{port}"
        arguments = [*ARGUMENTS, f"--user-data-dir={self._profile.name}", f"--window-size={width},{height}"]
        options = {"binary": CHROMIUM, "args": arguments}
        if width < 600:
            options["mobileEmulation"] = {"deviceMetrics": {"width": width, "height": height, "pixelRatio": 2}}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        try:
            self._wait_for(lambda: self._ask("GET", "/status")["ready"])
            session = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        except BaseException:
            self._stop()
            raise
        self._base += f"/session/{session['sessionId']}"
        asked = {"color-scheme": "dark" if dark else "light", "reduced-motion": "reduce" if still else ""}
        media = [{"name": f"prefers-{name}", "value": value} for name, value in asked.items()]
        self._command("Emulation.setEmulatedMedia", features=media)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self._ask("DELETE", "")
        finally:
            self._stop()

    def _stop(self):
        self._process.terminate()
        self._process.wait()
        self._profile.cleanup()

    def _ask(self, method, path, body=None):
        payload = None if body is None else json.dumps(body).encode()
        kind = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._base + path, payload, kind, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from None

    def _command(self, name, **parameters):
        return self._ask("POST", "/goog/cdp/execute", {"cmd": name, "params": parameters})

    @staticmethod
    def _wait_for(test, seconds=30):
        end = time.monotonic() + seconds
        while True:
            try:
                if value := test():
                    return value
            except OSError:
                pass
            assert time.monotonic() < end, "the browser did not reach the expected state"
            time.sleep(0.05)

    def open(self, path):
        self._ask("POST", "/url", {"url": Path(path).resolve().as_uri()})

    def run(self, script, *arguments):
        """Return the value of an expression, in which ``arguments`` stands for the given values."""
        return self._ask("POST", "/execute/sync", {"script": f"return {script}", "args": arguments})

    def wait(self, script, *arguments):
        return self._wait_for(lambda: self.run(script, *arguments))

    def find(self, selector):
        return self._ask("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def click(self, selector):
        self._ask("POST", f"/element/{self.find(selector)}/click", {})

    def press(self, *names):
        """Press keys, given by name or as characters, in the element that has the focus."""
        keys = [KEYS.get(name, name) for name in names]
        typed = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._ask("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": typed}]})

    def point(self, selector, *places, kind="mouse"):
        """Press at the first place (shares of the element's width and height), move over the others, release.

        A single place is only pointed at.
        """
        element = "document.querySelector(arguments[0])"
        self.run(f"{element}.scrollIntoView({{block: 'center', behavior: 'instant'}})", selector)
        box = self.run(f"{element}.getBoundingClientRect().toJSON()", selector)
        spots = [(int(box["x"] + x * box["width"]), int(box["y"] + y * box["height"])) for x, y in places]
        to = [{"type": "pointerMove", "duration": 0, "x": x, "y": y} for x, y in spots]
        if len(to) > 1:
            to = [to[0], {"type": "pointerDown", "button": 0}, *to[1:], {"type": "pointerUp", "button": 0}]
        pointer = {"type": "pointer", "id": kind, "parameters": {"pointerType": kind}, "actions": to}
        self._ask("POST", "/actions", {"actions": [pointer]})

    def errors(self):
        return [entry["message"] for entry in self._ask("POST", "/se/log", {"type": "browser"})]

    def screenshot(self, path):
        Path(path).write_bytes(base64.b64decode(self._ask("GET", "/screenshot")))
