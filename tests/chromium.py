"""A headless Chromium, driven through its DevTools protocol."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from websockets.sync.client import connect

from .nodes import wait_until

__all__ = ["CHROMIUM", "Page"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, _NAMES)), None)


class Page:
    """One page in a browser of its own.

    Args:
        url: what to open.
        profile: an empty directory.
    """

    def __init__(self, url: str, profile: Path) -> None:
        self._url = url
        self._profile = profile
        self._ids = itertools.count(1)
        self._session: str | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._launch(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _launch(self, stack: ExitStack) -> None:
        assert CHROMIUM is not None
        process = subprocess.Popen(
            [
                CHROMIUM,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--remote-debugging-port=0",
                f"--user-data-dir={self._profile}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        stack.callback(process.wait)
        stack.callback(process.kill)
        port_file = self._profile / "DevToolsActivePort"
        wait_until(lambda: port_file.exists() and port_file.read_text().count("\n"), "Chromium")
        port, path = port_file.read_text().split("\n")
        browser = connect(f"ws://127.0.0.1:{port}{path}", max_size=None)
        self._browser = stack.enter_context(browser)
        target = self._call("Target.createTarget", {"url": self._url})["targetId"]
        attach = {"targetId": target, "flatten": True}
        self._session = self._call("Target.attachToTarget", attach)["sessionId"]
        # At first there is an empty page, which is complete as well.
        loaded = "document.readyState == 'complete' && location.href != 'about:blank'"
        wait_until(lambda: self.run(loaded), self._url)

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        options = {"expression": script, "returnByValue": True}
        result = self._call("Runtime.evaluate", options)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def fill(self, **values: str) -> None:
        """Type into fields, by their ids."""
        for name, value in values.items():
            self.run(f"document.getElementById({name!r}).value = {json.dumps(value)}")

    def click(self, name: str) -> None:
        """Click on a button, by its id."""
        self.run(f"document.getElementById({name!r}).click()")

    def text(self, name: str) -> str:
        """What an element shows."""
        return str(self.run(f"document.getElementById({name!r}).innerText"))

    def _call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        number = next(self._ids)
        call: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session:
            call["sessionId"] = self._session
        self._browser.send(json.dumps(call))
        while True:
            answer = json.loads(self._browser.recv(timeout=15))
            if answer.get("id") == number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
