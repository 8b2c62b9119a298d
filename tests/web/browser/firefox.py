"""Firefox, spoken to by WebDriver BiDi (w3.org/TR/webdriver-bidi), of which Playwright asks more than it can do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

SECONDS = 60.0
KEYS = {"Enter": "\ue007", "Escape": "\ue00c", "Tab": "\ue004", "End": "\ue010"}
PREFERENCES = """
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.startup.page", 0);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("toolkit.telemetry.enabled", false);
user_pref("app.update.enabled", false);
user_pref("extensions.update.enabled", false);
user_pref("browser.safebrowsing.downloads.remote.enabled", false);
user_pref("services.settings.server", "data:,");
"""


def firefox() -> str:
    """Where Firefox is; else the test is skipped, but never in CI."""
    found = os.environ.get("FIREFOX") or shutil.which("firefox-esr") or shutil.which("firefox")
    if found:
        return found
    sentence = "There is no Firefox here: install it, or say where it is in FIREFOX."
    if os.environ.get("CI"):
        pytest.fail(sentence)
    pytest.skip(sentence)


class Bidi:
    """A session with a browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self._replies: dict[int, asyncio.Future[Any]] = {}
        self.logged: list[str] = []

    async def send(self, method: str, **params: Any) -> Any:
        """What a command gives. Raises AssertionError where the browser refuses it."""
        self._number += 1
        reply = self._replies[self._number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": self._number, "method": method, "params": params})
        async with asyncio.timeout(SECONDS):
            return await reply

    async def listen(self) -> None:
        """Take in what the browser says, until it says no more."""
        async for message in self._socket:
            told = json.loads(message.data)
            if told["type"] == "event":
                if told["method"] == "log.entryAdded" and told["params"]["level"] in ("error", "warn"):
                    self.logged.append(str(told["params"]["text"]))
                continue
            reply = self._replies.pop(told["id"])
            if told["type"] == "success":
                reply.set_result(told["result"])
            else:
                reply.set_exception(AssertionError(f"{told['error']}: {told['message']}"))


class Tab:
    """A tab, and what a person does in it."""

    def __init__(self, bidi: Bidi, context: str) -> None:
        self._bidi = bidi
        self._context = context

    @property
    def problems(self) -> Sequence[str]:
        """What stands in the console, of errors and warnings."""
        return self._bidi.logged

    async def goto(self, url: str) -> None:
        """Come back once the page is loaded."""
        await self._bidi.send("browsingContext.navigate", context=self._context, url=url, wait="complete")

    async def reload(self) -> None:
        """Load the page once more."""
        await self._bidi.send("browsingContext.reload", context=self._context, wait="complete")

    async def run(self, function: str) -> Any:
        """What a function gives in the page, as JSON, in which `all(selector)` looks into the widget, too."""
        script = f"""async () => {{
            const root = document.querySelector("bob-chat")?.shadowRoot ?? document;
            const all = (selector) => [...root.querySelectorAll(selector)];
            return JSON.stringify((await ({function})()) ?? null);
        }}"""
        done = await self._bidi.send(
            "script.callFunction", functionDeclaration=script, awaitPromise=True, target={"context": self._context}
        )
        assert done["type"] == "success", done["exceptionDetails"]["text"]
        return json.loads(done["result"]["value"])

    async def until(self, condition: str) -> None:
        """Wait for a condition in the page."""
        frames = f"""async () => {{
            const until = performance.now() + {SECONDS * 900};
            while (!({condition})()) {{
                if (performance.now() > until) return root.textContent.slice(-500);
                await new Promise((wake) => setTimeout(wake, 20));
            }}
            return "";
        }}"""
        assert (shown := await self.run(frames)) == "", f"{condition}\n{shown}"

    async def type(self, *keys: str) -> None:
        """Press keys, named or as the characters they write."""
        pressed = [KEYS.get(each, each) for text in keys for each in ([text] if text in KEYS else text)]
        actions = [{"type": kind, "value": key} for key in pressed for kind in ("keyDown", "keyUp")]
        await self._perform({"type": "key", "id": "keyboard", "actions": actions})

    async def click(self, selector: str) -> None:
        """Click what is found first."""
        x, y = await self._middle_of(selector)
        move = {"type": "pointerMove", "x": x, "y": y}
        press = [{"type": kind, "button": 0} for kind in ("pointerDown", "pointerUp")]
        await self._perform({"type": "pointer", "id": "mouse", "actions": [move, *press]})

    async def wheel(self, selector: str, notches: int) -> None:
        """Turn the wheel by so many notches, upwards if there are fewer than none."""
        x, y = await self._middle_of(selector)
        step = {"type": "scroll", "x": x, "y": y, "deltaX": 0, "deltaY": 100 if notches > 0 else -100}
        await self._perform({"type": "wheel", "id": "wheel", "actions": [step] * abs(notches)})

    async def _middle_of(self, selector: str) -> tuple[int, int]:
        x, y = await self.run(
            f"""() => {{
                const {{ x, y, width, height }} = all({json.dumps(selector)})[0].getBoundingClientRect();
                return [Math.round(x + width / 2), Math.round(y + height / 2)];
            }}"""
        )
        return x, y

    async def _perform(self, actions: Any) -> None:
        await self._bidi.send("input.performActions", context=self._context, actions=[actions])


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[Tab]:
    """A Firefox of one's own with a blank tab."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        (Path(profile) / "user.js").write_text(PREFERENCES, encoding="utf-8")
        arguments = "--headless", "--no-remote", "--remote-debugging-port", "0", "--profile", profile
        process = await asyncio.create_subprocess_exec(
            firefox(), *arguments, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "HOME": profile},
        )  # fmt: skip
        assert process.stderr is not None
        try:
            async with asyncio.timeout(SECONDS):
                while b"BiDi listening on " not in (line := await process.stderr.readline()):
                    assert line, "Firefox ended"
            drain = asyncio.ensure_future(process.stderr.read())
            url = line.decode().split("listening on ")[1].strip()
            async with aiohttp.ClientSession() as http, http.ws_connect(f"{url}/session", max_msg_size=0) as socket:
                bidi = Bidi(socket)
                listening = asyncio.ensure_future(bidi.listen())
                await bidi.send("session.new", capabilities={})
                await bidi.send("session.subscribe", events=["log.entryAdded"])
                made = await bidi.send("browsingContext.create", type="tab")
                yield Tab(bidi, made["context"])
                await bidi.send("browser.close")
                await listening
            await drain
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
