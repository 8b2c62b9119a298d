"""Ports at which a fake is served, is gone for a while, and is served again."""

from __future__ import annotations

import asyncio
import socket
import weakref

from aiohttp import web

CYCLES_TO_TAKE_IN = 5  # of an event loop: from when it accepts a connection until somebody has it in hand


def kept_port(owner: object) -> int:
    """A free port of this machine. Nobody else gets it while `owner` is there, also while nobody listens at it.

    Whoever listens at it has to bind with SO_REUSEPORT. Connections are refused as long as nobody does.
    """
    keeper = socket.socket()
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    keeper.bind(("127.0.0.1", 0))
    weakref.finalize(owner, keeper.close)
    port: int = keeper.getsockname()[1]
    return port


async def stop_accepting(server: object) -> None:
    """Accept no connection any more, and come back once each that was accepted is in somebody's hands.

    A server of asyncio's that is closed between the two drops them without closing them, and without a word:
    `Server._attach`. In the simulated loop it is another one, which has nothing between the two.
    """
    if not isinstance(server, asyncio.Server):
        return
    loop = asyncio.get_running_loop()
    for each in server.sockets:
        loop.remove_reader(each.fileno())
    for _ in range(CYCLES_TO_TAKE_IN):
        await asyncio.sleep(0)


async def close(runner: web.AppRunner) -> None:
    """Close its ports and every connection."""
    for site in runner.sites:
        await stop_accepting(site._server)
    await runner.cleanup()
