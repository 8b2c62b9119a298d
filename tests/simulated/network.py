"""TCP in memory: what is sent arrives in order, after a latency that is drawn, in pieces that need not be those sent.

All addresses are of this machine, so a service is named by its port. Connections can be cut (both sides hear of it),
fall silent (nobody hears anything: the other host is gone) and be held up by a partition, which delivers when it ends.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import socket
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from tests.simulated.loop import HOST, Host, SimulatedLoop

MEAN_LATENCY = 0.4e-3
SHARE_OF_SPLIT_CHUNKS = 0.02
HIGH_WATER, LOW_WATER = 64 * 1024, 16 * 1024
FIRST_PORT = 20_000
END = object()


class VirtualSocket:
    """What stands for a socket: a name of one end, and the connection that was made for it, if any."""

    family = socket.AF_INET
    type = socket.SOCK_STREAM
    proto = socket.IPPROTO_TCP

    def __init__(self, own: tuple[str, int], peer: tuple[str, int] | None = None) -> None:
        self._own, self._peer = own, peer
        self.transport: Transport | None = None

    def getsockname(self) -> tuple[str, int]:
        return self._own

    def getpeername(self) -> tuple[str, int]:
        if self._peer is None:
            raise OSError(errno.ENOTCONN, "not connected")
        return self._peer

    def setsockopt(self, *_: object) -> None:
        """Nothing of it changes anything here."""

    def close(self) -> None:
        if self.transport is not None and self.transport.protocol is None:
            self.transport.abort()

    def fileno(self) -> int:
        return -1

    def __enter__(self) -> VirtualSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Transport(asyncio.Transport):
    """One end of a connection. Its protocol is called in the context of whoever made it."""

    peer: Transport

    def __init__(self, network: Network, host: Host, context: contextvars.Context, own: VirtualSocket) -> None:
        super().__init__()
        self.network = network
        self.host = host
        self.protocol: Any = None
        self.is_silent = False
        self.inbox: deque[tuple[float, Any]] = deque()
        self.unread = 0
        self._own = own
        self._context = context
        self._last_due = 0.0
        self._is_scheduled = self._is_reading_paused = self._is_writing_paused = False
        self._closing = self._lost = self._has_sent_end = False

    # ── what protocols call ──────────────────────────────────────────────────────────────────────────────────────────

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        match name:
            case "socket":
                return self._own
            case "peername":
                return self._own.getpeername()
            case "sockname":
                return self._own.getsockname()
        return default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> Any:
        return self.protocol

    def is_closing(self) -> bool:
        return self._closing

    def write(self, data: Any) -> None:
        if not data or self._has_sent_end or self._lost:
            return
        self.host.step()
        if not self.host.is_alive:
            return
        self._send(bytes(data))
        if self.peer.unread > HIGH_WATER and not self._is_writing_paused:
            self._is_writing_paused = True
            self.protocol.pause_writing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not self._has_sent_end:
            self._has_sent_end = True
            self._send(END)

    def close(self) -> None:
        if not self._closing:
            self.write_eof()
            self._lose(None)

    def abort(self) -> None:
        if not self._closing:
            self._has_sent_end = True
            self._send(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))
            self._lose(None)

    def pause_reading(self) -> None:
        self._is_reading_paused = True

    def resume_reading(self) -> None:
        self._is_reading_paused = False
        self._schedule()

    def is_reading(self) -> bool:
        return not self._is_reading_paused and not self._closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """They are as they are."""

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return LOW_WATER, HIGH_WATER

    def get_write_buffer_size(self) -> int:
        return max(0, self.peer.unread - LOW_WATER)

    # ── on the way ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _send(self, item: Any) -> None:
        if self.is_silent:
            return
        loop = self.network.loop
        if loop.is_traced:
            loop.trace(f"{self.host.name}>{self.peer.host.name} {len(item) if isinstance(item, bytes) else 'end'}")
        if isinstance(item, bytes) and self.network.watch is not None:
            self.network.watch(self.host, self.peer.host, item)
        if isinstance(item, bytes) and len(item) > 1 and loop.random.random() < SHARE_OF_SPLIT_CHUNKS:
            at = loop.random.randrange(1, len(item))
            self.peer.arrive(item[:at])
            item = item[at:]
        self.peer.arrive(item)

    def arrive(self, item: Any) -> None:
        """Something is on its way here."""
        if self._lost:
            if isinstance(item, bytes):  # the kernel of a closed end answers what comes with a reset
                self.peer.arrive(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))
            return
        held = self.network.held_between(self.host, self.peer.host)
        due = max(self._last_due, self.network.loop.time() + self.network.loop.latency(MEAN_LATENCY))
        self._last_due = due
        self.unread += len(item) if isinstance(item, bytes) else 0
        self.inbox.append((due, item))
        if held is None:
            self._schedule()
        else:
            held.add(self._schedule)

    def _schedule(self) -> None:
        if self.inbox and not self._is_scheduled and not self._is_reading_paused and not self._lost:
            self._is_scheduled = True
            self.network.loop.call_at(self.inbox[0][0], self._deliver, context=self._context)

    def _deliver(self) -> None:
        self._is_scheduled = False
        if self._lost or self._is_reading_paused or self.protocol is None:
            return
        if (held := self.network.held_between(self.host, self.peer.host)) is not None:
            held.add(self._schedule)
            return
        now, chunks = self.network.loop.time(), []
        while self.inbox and self.inbox[0][0] <= now and isinstance(self.inbox[0][1], bytes):
            chunks.append(self.inbox.popleft()[1])
        if chunks:
            data = b"".join(chunks)
            self.unread -= len(data)
            self.peer.may_write_again()
            if self.network.kills is not None and self.network.kills(self.host, data):
                return
            self.protocol.data_received(data)
        elif self.inbox and self.inbox[0][0] <= now:
            item = self.inbox.popleft()[1]
            if item is END:
                if not self.protocol.eof_received():
                    self.close()
            else:
                self._has_sent_end = True
                self._lose(item)
        self._schedule()

    def may_write_again(self) -> None:
        """The other end has read something."""
        if self._is_writing_paused and self.peer.unread < LOW_WATER and not self._lost:
            self._is_writing_paused = False
            self.network.loop.call_soon(self.protocol.resume_writing, context=self._context)

    def _lose(self, error: Exception | None) -> None:
        if not self._closing:
            self._closing = True
            self.network.loop.call_soon(self._is_lost, error, context=self._context)

    def _is_lost(self, error: Exception | None) -> None:
        self._lost = True
        self.network.transports.pop(self, None)
        self.inbox.clear()
        if self.protocol is not None:
            self.protocol.connection_lost(error)

    def die(self, *, silently: bool) -> None:
        """Its host is gone: the kernel says so to the other end, or nobody does."""
        if not silently and not self._has_sent_end:
            self._send(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))
        self._closing = self._lost = self._has_sent_end = self.is_silent = True
        self.peer.is_silent = self.peer.is_silent or silently
        self.network.transports.pop(self, None)
        self.inbox.clear()


class Held:
    """What waits for the end of a partition."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], object]] = []

    def add(self, go_on: Callable[[], object]) -> None:
        self._waiting.append(go_on)

    def release(self) -> None:
        for go_on in self._waiting:
            go_on()


class Server:
    """Who listens at a port."""

    def __init__(self, network: Network, host: Host, factory: Callable[[], Any], at: VirtualSocket) -> None:
        self.host = host
        self.factory = factory
        self.context = contextvars.copy_context()
        self.sockets = (at,)
        self._network = network

    def close(self) -> None:
        servers = self._network.servers
        port = self.sockets[0].getsockname()[1]
        if servers.get(port) is self:
            del servers[port]

    def is_serving(self) -> bool:
        return self._network.servers.get(self.sockets[0].getsockname()[1]) is self

    async def wait_closed(self) -> None:
        """It is closed at once."""


class Network:
    """All connections, and who listens where."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self.loop = loop
        self.servers: dict[int, Server] = {}
        self.transports: dict[Transport, None] = {}  # in order
        self._ports = iter(range(FIRST_PORT, 2**31))
        self.watch: Callable[[Host, Host, bytes], object] | None = None
        """Sees everything that is sent."""
        self.kills: Callable[[Host, bytes], bool] | None = None
        """Whether its receiver dies of something."""
        self._held: dict[frozenset[str], Held] = {}
        loop.network = self

    def free_port(self) -> int:
        """A port at which nobody listens."""
        return next(self._ports)

    # ── what befalls it ──────────────────────────────────────────────────────────────────────────────────────────────

    def of(self, host: Host) -> Iterator[Transport]:
        """The ends of this host."""
        return (each for each in list(self.transports) if each.host is host)

    def lose_host(self, host: Host, *, silently: bool = False) -> None:
        """A host is gone; the others hear of it, or they do not."""
        host.has_closed_connections = not silently
        for transport in self.of(host):
            transport.die(silently=silently)
        for server in list(self.servers.values()):
            if server.host is host:
                server.close()

    def cut(self, host: Host, peer: str) -> None:
        """Cut the connections of a host to another, which both hear."""
        for transport in self.of(host):
            if transport.peer.host.name == peer:
                for end in (transport, transport.peer):
                    end.arrive(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))

    def separate(self, one: str, other: str) -> None:
        """Let nothing arrive between two hosts, until they are `joined`."""
        self._held.setdefault(frozenset((one, other)), Held())

    def join(self, one: str, other: str) -> None:
        """Let everything arrive again, with what was sent meanwhile."""
        if held := self._held.pop(frozenset((one, other)), None):
            held.release()

    def held_between(self, one: Host, other: Host) -> Held | None:
        """What waits between two hosts, where nothing arrives now."""
        return self._held.get(frozenset((one.name, other.name))) if self._held else None

    # ── what the loop asks for ───────────────────────────────────────────────────────────────────────────────────────

    def listen(self, factory: Any, host: Any, port: Any, sock: VirtualSocket | None) -> Server:
        at = sock or VirtualSocket(("127.0.0.1", port or self.free_port()))
        port = at.getsockname()[1]
        if port in self.servers:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        server = self.servers[port] = Server(self, HOST.get(), factory, at)
        return server

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in ("localhost", "127.0.0.1"):
            raise socket.gaierror(socket.EAI_NONAME, f"there is no host {name} here")
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))]

    async def open_socket(self, address: tuple[str, int]) -> VirtualSocket:
        """A socket that is connected to an address. Raises ConnectionRefusedError where nobody listens."""
        loop, host = self.loop, HOST.get()
        await asyncio.sleep(loop.latency(MEAN_LATENCY))
        server = self.servers.get(address[1])
        while server is not None and (held := self.held_between(host, server.host)) is not None:
            healed = asyncio.Event()
            held.add(healed.set)
            await healed.wait()
            server = self.servers.get(address[1])
        if server is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        here, there = ("127.0.0.1", self.free_port()), ("127.0.0.1", address[1])
        near, far = VirtualSocket(here, there), VirtualSocket(there, here)
        near.transport = Transport(self, host, contextvars.copy_context(), near)
        far.transport = Transport(self, server.host, server.context, far)
        near.transport.peer, far.transport.peer = far.transport, near.transport
        self.transports[near.transport] = self.transports[far.transport] = None
        loop.call_soon(self._serve, server, far.transport, context=server.context)
        return near

    def _serve(self, server: Server, transport: Transport) -> None:
        transport.protocol = server.factory()
        transport.protocol.connection_made(transport)
        transport._schedule()

    async def connect(self, factory: Any, sock: VirtualSocket) -> Any:
        assert sock.transport is not None, "connections are made through `open_socket` only"
        transport = sock.transport
        transport.protocol = factory()
        transport.protocol.connection_made(transport)
        transport._schedule()
        return transport, transport.protocol
