"""Slack's deliveries over Socket Mode.

slack_sdk tries an address again that failed, although each is good for one use, and would stay deaf for ever; and where
Slack closes each new connection it opens the next one at once (slack_sdk 3.47, `SocketModeClient.connect` and
`connect_to_new_endpoint`). Ours asks for a new address each time, and pauses ever longer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

import aiohttp
from slack_bolt.adapter.socket_mode.async_internals import run_async_bolt_app, send_async_response
from slack_bolt.async_app import AsyncApp
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest

from core import exponential_backoff, kind_of

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 2.0  # at whether the connection lives: four without an answer, and it does not
HEARTBEAT_SECONDS = 10.0
SECONDS_OF_A_GOOD_CONNECTION = 60.0  # one that brought something is good as well
SHORTEST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
library_logger = logging.getLogger("slack_sdk")


class Socket(SocketModeClient):
    """A connection to Slack that is made anew until it is closed; what comes is handed to `app`.

    `on_connected` is called each time.
    """

    def __init__(self, app: AsyncApp, app_token: str, on_connected: Callable[[], None]) -> None:
        library_logger.setLevel(logging.CRITICAL)  # it quotes addresses that are secrets, and what people write
        super().__init__(app_token, logger=library_logger, web_client=app.client, ping_interval=SECONDS_BETWEEN_LOOKS)
        self._app = app
        self._on_connected = on_connected
        self._backoff = exponential_backoff(SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        self._connected_at: float | None = None
        self._was_useful = False
        self.socket_mode_request_listeners.append(self._hand_on)

    async def connect_to_new_endpoint(self, force: bool = False) -> None:
        """Connect anew; unless it is `force`d, only where the connection is gone."""
        async with self.connect_operation_lock:
            if force or not await self.is_connected():
                await self.connect()

    async def connect(self) -> None:
        """Come back once there is a connection, however long that takes."""
        if self._was_the_last_one_good():
            self._backoff = exponential_backoff(SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        elif self._connected_at is not None:
            logger.warning("Slack closes each connection soon: it takes ten of an app, from all its processes")
            await asyncio.sleep(next(self._backoff))
        while not self.closed:
            try:
                await self._connect_once()
            except Exception as failure:  # the SDK lets through whatever its HTTP client raises
                logger.warning("Slack's Socket Mode cannot be reached yet: %s", kind_of(failure))
            else:
                self._connected_at, self._was_useful = time.monotonic(), False
                self._on_connected()
                logger.info("connected to Slack")
                return
            await asyncio.sleep(next(self._backoff))

    def _was_the_last_one_good(self) -> bool:
        if self._connected_at is None:
            return False
        return self._was_useful or time.monotonic() - self._connected_at > SECONDS_OF_A_GOOD_CONNECTION

    async def _connect_once(self) -> None:
        self.auto_reconnect_enabled = False
        if self.current_session is not None:
            with contextlib.suppress(Exception):  # a broken one may fail to close
                await self.current_session.close()
        if self.aiohttp_client_session.closed:
            self.aiohttp_client_session = aiohttp.ClientSession()
        self.current_session = await self.aiohttp_client_session.ws_connect(
            await self.issue_new_wss_url(),
            autoping=False,  # the SDK answers pings itself
            heartbeat=HEARTBEAT_SECONDS,
            proxy=self.proxy,
            ssl=self.web_client.ssl if self.web_client.ssl is not None else True,
        )
        self.auto_reconnect_enabled = self.default_auto_reconnect_enabled
        self.stale = False
        await self.current_session.ping(f"sdk-ping-pong:{time.time()}".encode())
        monitor, receiver = self.current_session_monitor, self.message_receiver
        self.current_session_monitor = asyncio.ensure_future(self.monitor_current_session())
        self.message_receiver = asyncio.ensure_future(self.receive_messages())
        for task in (monitor, receiver):  # one of them may be who called us
            if task is not None:
                task.cancel()

    async def _hand_on(self, _: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        self._was_useful = True
        response = await run_async_bolt_app(self._app, request)
        try:
            await send_async_response(self, request, response, time.time())
        except (OSError, aiohttp.ClientError) as failure:  # then it is delivered again
            logger.info("an acknowledgement could not be sent: %s", kind_of(failure))
