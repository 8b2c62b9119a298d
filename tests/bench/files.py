"""What 50 files of 10 MB, sent at once, cost those who only ask: how long they wait, against the same without files.

Bob runs as users run him. Who only asks does so at a steady pace, whatever the answers take, from a process of his own.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

from tests.bench.throughput import BOB, COMMANDS, SHORT_ANSWER, app, upstream
from tests.core.fixtures.files import pdf

ROUNDS = 3
FILES, BYTES_OF_A_FILE = 50, 10_000_000
QUESTIONS_A_SECOND, SECONDS_ALONE = 20.0, 10.0
P50, P99 = 0.5, 0.99


def main() -> None:
    print(
        f"\n{FILES} files of {BYTES_OF_A_FILE // 1_000_000} MB at once, and {QUESTIONS_A_SECOND:.0f} questions a second"
    )
    print(f"{'':>10s}{'p50 ms':>9s}{'p99':>9s}{'most':>9s}{'RSS MB':>9s}{'seconds':>9s}{'MB/s':>9s}", flush=True)
    for _ in range(ROUNDS):
        processors = os.sched_getaffinity(0)
        with upstream(SHORT_ANSWER) as port, app(COMMANDS[BOB], port, processors) as (process, ours):
            asyncio.run(ask_steadily(ours, asking := Asking(until=SECONDS_ALONE / 2)))  # what is imported at first
            asyncio.run(ask_steadily(ours, asking := Asking(until=SECONDS_ALONE)))
            alone = asking.taken
            report("alone", alone, process.pid)
            with sent_at_once(ours) as sending:
                asyncio.run(ask_steadily(ours, asking := Asking(sending=sending)))
            report("beside", asking.taken, process.pid, asking.seconds)
        ratios = (quantile(asking.taken, part) / quantile(alone, part) for part in (P50, P99))
        print(f"{'ratio':>10s}" + "".join(f"{ratio:>9.2f}" for ratio in ratios), flush=True)


class Asking:
    """Questions at a steady pace, for so many seconds or until all files are sent."""

    def __init__(self, *, until: float = 0.0, sending: subprocess.Popen[bytes] | None = None) -> None:
        self.taken: list[float] = []
        self.seconds = 0.0
        self._until = until
        self._sending = sending

    def goes_on(self) -> bool:
        return self.seconds < self._until if self._sending is None else self._sending.poll() is None


async def ask_steadily(port: int, asking: Asking) -> None:
    began = time.perf_counter()
    questions: set[asyncio.Task[None]] = set()
    for number in range(1_000_000):
        asking.seconds = time.perf_counter() - began
        if not asking.goes_on():
            break
        questions.add(asyncio.create_task(ask(port, asking.taken)))
        await asyncio.sleep(max(0.0, began + (number + 1) / QUESTIONS_A_SECOND - time.perf_counter()))
    await asyncio.gather(*questions)


async def ask(port: int, taken: list[float]) -> None:
    body = json.dumps({"session_id": os.urandom(8).hex(), "user_input": "hello"})
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"POST /ask HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
                 f"Content-Length: {len(body)}\r\n\r\n{body}".encode())  # fmt: skip
    answer = await reader.read()
    taken.append(time.perf_counter() - began)
    writer.close()
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"the app answered {answer[:60]!r}")


@contextlib.contextmanager
def sent_at_once(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that sends all files, and ends when each is answered."""
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.files", str(port)])
    try:
        yield process
        if process.wait():
            raise RuntimeError("not all files were read")
    finally:
        process.kill()


def send_all(port: int) -> None:
    """Send all files at once. Raises RuntimeError where one is not read."""
    with tempfile.TemporaryFile() as file:
        file.write(large_pdf())
        problems: list[str] = []
        senders = [threading.Thread(target=send, args=(port, number, file, problems)) for number in range(FILES)]
        for each in senders:
            each.start()
        for each in senders:
            each.join()
    if problems:
        raise RuntimeError(problems[0])


def send(port: int, number: int, file: io.BufferedRandom, problems: list[str]) -> None:
    fields = {"session_id": f"sends-{os.getpid()}-{number}", "user_input": "what is it?"}
    part = '--x\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}'
    head = "".join(part.format(name, said) + "\r\n" for name, said in fields.items())
    head += part.format('files"; filename="a.pdf', "")
    end = b"\r\n--x--\r\n"
    size = os.fstat(file.fileno()).st_size
    connection = HTTPConnection("127.0.0.1", port, timeout=600)
    connection.putrequest("POST", "/ask")
    connection.putheader("Content-Type", "multipart/form-data; boundary=x")
    connection.putheader("Content-Length", str(len(head) + size + len(end)))
    connection.endheaders(head.encode())
    with open(f"/proc/self/fd/{file.fileno()}", "rb") as mine:  # with a place of its own in the file
        connection.sock.sendfile(mine)
    connection.send(end)
    answer = json.loads(connection.getresponse().read())
    problem = answer["files"][0]["problem"] if "files" in answer else answer["detail"]
    if problem is not None:
        problems.append(problem)


def large_pdf() -> bytes:
    """A PDF with a picture that nothing shows."""
    small = pdf(2)
    at = small.index(b"xref\n")
    padding = os.urandom(BYTES_OF_A_FILE - len(small) - 200)
    unused = b"9 0 obj\n<< /Length %d >>\nstream\n%b\nendstream\nendobj\n" % (len(padding), padding)
    return (small[:at] + unused + small[at:]).replace(b"startxref\n%d" % at, b"startxref\n%d" % (at + len(unused)))


def quantile(taken: list[float], part: float) -> float:
    return sorted(taken)[int(part * (len(taken) - 1))] * 1000


def report(name: str, taken: list[float], pid: int, seconds: float = 0.0) -> None:
    status = Path(f"/proc/{pid}/status").read_text()
    memory = int(status.partition("VmHWM:")[2].split()[0]) // 1024
    rate = f"{seconds:>9.1f}{FILES * BYTES_OF_A_FILE / 1e6 / seconds:>9.1f}" if seconds else ""
    figures = "".join(f"{quantile(taken, part):>9.1f}" for part in (P50, P99, 1.0))
    print(f"{name:>10s}{figures}{memory:>9,d}{rate}", flush=True)


if __name__ == "__main__":
    send_all(int(sys.argv[1]))
