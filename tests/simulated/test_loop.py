"""The loop in which Bob is simulated: time jumps, hosts die without a last word, a seed decides what comes first."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from tests.simulated.loop import HOST, Deadlock, Host, SimulatedLoop, collect
from tests.simulated.network import Network

# What is left of a loop in which somebody was killed closes nothing.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module", autouse=True)
def _nothing_is_left_to_other_tests() -> Iterator[None]:
    yield
    collect([])


def in_loop(work: Callable[[SimulatedLoop], Coroutine[Any, Any, Any]], *, seed: int = 1) -> Any:
    loop = SimulatedLoop(seed)
    Network(loop)
    loop.set_exception_handler(lambda *_: None)  # of what is left over at the end
    try:
        return loop.run_until_complete(work(loop))
    finally:
        loop.close()


def begin(host: Host, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    context = contextvars.copy_context()
    context.run(HOST.set, host)
    return context.run(asyncio.get_running_loop().create_task, work)


def test_a_year_of_sleep_takes_no_time() -> None:
    async def work(loop: SimulatedLoop) -> float:
        began = loop.time()
        await asyncio.sleep(365 * 86_400)
        return loop.time() - began

    assert in_loop(work) == pytest.approx(365 * 86_400, abs=1)


def test_what_waits_for_nothing_is_an_error() -> None:
    async def work(loop: SimulatedLoop) -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock):
        in_loop(work)


def test_nothing_of_a_killed_host_takes_effect_not_even_a_finally() -> None:
    did: list[str] = []

    async def victim() -> None:
        try:
            did.append("began")
            await asyncio.sleep(1)
            did.append("went on")
        finally:
            asyncio.get_running_loop().call_soon(did.append, "cleaned up")

    async def work(loop: SimulatedLoop) -> None:
        host = Host("victim")
        begin(host, victim())
        await asyncio.sleep(0.5)
        loop.kill(host)
        await asyncio.sleep(10)
        loop.bury()
        await asyncio.sleep(10)

    in_loop(work)
    assert did == ["began"]


def test_a_paused_host_does_what_it_missed_when_it_goes_on() -> None:
    async def work(loop: SimulatedLoop) -> float:
        host, at = Host("sleeper"), []

        async def sleep() -> None:
            await asyncio.sleep(1)
            at.append(loop.time())

        began = loop.time()
        begin(host, sleep())
        await asyncio.sleep(0.5)
        loop.pause(host)
        await asyncio.sleep(60)
        assert not at
        loop.resume(host)
        await asyncio.sleep(1)
        return float(at[0] - began)

    assert in_loop(work) == pytest.approx(60.5, abs=0.1)


def test_callbacks_of_a_host_keep_their_order_and_those_of_several_are_mixed_by_the_seed() -> None:
    def orders(seed: int) -> list[tuple[str, int]]:
        seen: list[tuple[str, int]] = []

        async def count(name: str) -> None:
            for number in range(5):
                seen.append((name, number))
                await asyncio.sleep(0)

        async def work(loop: SimulatedLoop) -> None:
            await asyncio.wait({begin(Host(name), count(name)) for name in ("a", "b", "c")})

        in_loop(work, seed=seed)
        return seen

    assert orders(1) == orders(1)
    assert len({tuple(orders(seed)) for seed in range(5)}) > 1
    for name in "abc":
        assert [number for one, number in orders(3) if one == name] == [0, 1, 2, 3, 4]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100_000):
        writer.write(data)
        await writer.drain()
    writer.close()


async def connected(loop: SimulatedLoop, server: Host) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async def serve() -> None:
        await asyncio.start_server(echo, "127.0.0.1", 7)

    await begin(server, serve())
    socket = await loop.network.open_socket(("127.0.0.1", 7))
    return await asyncio.open_connection(sock=socket)


def test_a_connection_carries_everything_in_order_however_it_is_cut_into_pieces() -> None:
    sent = bytes(range(256)) * 2_000

    async def work(loop: SimulatedLoop) -> bytes:
        reader, writer = await connected(loop, Host("server"))

        async def write() -> None:
            for at in range(0, len(sent), 1_000):
                writer.write(sent[at : at + 1_000])
                await writer.drain()
            writer.write_eof()

        received, _ = await asyncio.gather(reader.read(), write())
        return received

    assert in_loop(work) == sent


def test_the_peer_of_a_killed_process_hears_of_it_and_that_of_a_lost_host_does_not() -> None:
    async def work(loop: SimulatedLoop, *, silently: bool) -> str:
        server = Host("server")
        reader, _ = await connected(loop, server)
        loop.kill(server)
        loop.network.lose_host(server, silently=silently)
        try:
            async with asyncio.timeout(3_600):
                await reader.read()
        except ConnectionResetError:
            return "reset"
        except TimeoutError:
            return "silence"
        return "end"

    assert in_loop(lambda loop: work(loop, silently=False)) == "reset"
    assert in_loop(lambda loop: work(loop, silently=True)) == "silence"


def test_what_is_sent_in_a_partition_arrives_when_it_ends() -> None:
    async def work(loop: SimulatedLoop) -> float:
        reader, writer = await connected(loop, Host("server"))
        here = HOST.get().name
        loop.network.separate(here, "server")
        began = loop.time()
        writer.write(b"hello")
        loop.call_later(30, loop.network.join, here, "server")
        assert await reader.readexactly(5) == b"hello"
        return loop.time() - began

    assert in_loop(work) == pytest.approx(30, abs=1)


def test_nobody_is_reached_where_nobody_listens() -> None:
    async def work(loop: SimulatedLoop) -> None:
        await loop.network.open_socket(("127.0.0.1", 9))

    with pytest.raises(ConnectionRefusedError):
        in_loop(work)
