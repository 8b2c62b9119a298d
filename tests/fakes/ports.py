"""Ports at which a fake is served, is gone for a while, and is served again."""

from __future__ import annotations

import socket
import weakref


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
