"""The command line: what it says, what it refuses, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import aiohttp
import pytest

from tests.acceptance.processes import BOB, SECONDS, Nursery, ask, bob, command, executed, free_port
from tests.conftest import PASSWORD, new_postgresql_database
from tests.core.fixtures.database import rows
from tests.core.fixtures.files import ogg
from tests.fakes.openai_api import FakeOpenAI, Reply
from tests.stopwatch import stopwatch

Environment = Callable[..., dict[str, str]]

OFFLINE = {"OPENAI_API_KEY": "", "OPENAI_BASE_URL": "", "OPENAI_THREADS": ""}


def run(environment: dict[str, str], folder: Path, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
    """`bob` with these arguments, from its start to its end."""
    return command({"PORT": "0", **environment}, folder, *arguments, said=said.encode())


def run_as_shipped(
    environment: dict[str, str], folder: Path, *arguments: str, said: str = ""
) -> subprocess.CompletedProcess[str]:
    """The shipped command, as a user starts it."""
    return subprocess.run(
        [BOB, *arguments], env={"PORT": "0", **environment}, cwd=folder, input=said, capture_output=True, text=True,
        timeout=SECONDS, check=False,
    )  # fmt: skip


# ── what cannot start ────────────────────────────────────────────────────────────────────────────────────────────────

REFUSED: dict[str, tuple[dict[str, str], str]] = {
    "offline for everybody": ({**OFFLINE, "HOST": "0.0.0.0"}, "HOST"),
    "offline for everybody (IPv6)": ({**OFFLINE, "HOST": "::"}, "HOST"),
    "everybody without a key": ({"HOST": "0.0.0.0"}, "ALLOW_ANONYMOUS"),
    "another kind of database": ({"DATABASE_URL": "mysql://u:hunter2hunter2@h/d"}, "DATABASE_URL"),
    "no URL": ({"DATABASE_URL": "hunter2hunter2"}, "DATABASE_URL"),
    "a database in memory": ({"DATABASE_URL": "sqlite://"}, "DATABASE_URL"),
    "a file where no folder is": ({"DATABASE_URL": "sqlite:///nowhere/bob.db"}, "database file"),
    "no PostgreSQL": ({"DATABASE_URL": "postgresql://u:hunter2hunter2@127.0.0.1:1/d"}, "DATABASE_URL"),
    "no such host": ({"DATABASE_URL": "postgresql://u:hunter2hunter2@nowhere.invalid/d"}, "DATABASE_URL"),
    "a weak password": ({"PRIVATE_BOB_PASSWORD": "hunter2"}, "password"),
    "no such assistants file": ({"ASSISTANTS_FILE": "nowhere.toml"}, "nowhere.toml"),
    "a broken assistants file": ({"ASSISTANTS_FILE": "broken.toml"}, "broken.toml"),
    "an unknown word in it": ({"ASSISTANTS_FILE": "unknown.toml"}, "temperature"),
    "no public assistant": ({"ASSISTANTS_FILE": "private.toml"}, "public"),
    "no port": ({"PORT": "many"}, "PORT"),
    "a port that is too large": ({"PORT": "65536"}, "PORT"),
    "no network": ({"TRUSTED_PROXIES": "everybody"}, "TRUSTED_PROXIES"),
    "a key without a key": ({"API_KEYS": "alice:hunter2hunter2-1 bob:"}, "API_KEYS"),
    "two keys of a name": ({"API_KEYS": "alice:hunter2hunter2-1 alice:hunter2hunter2-2"}, "API_KEYS"),
    "two keys of a name in other letters": ({"API_KEYS": "alice:hunter2hunter2-1 Alice:hunter2hunter2-2"}, "API_KEYS"),
    "a key that can be guessed": ({"API_KEYS": "alice:hunter2"}, "alice"),
    "no host": ({"HOST": "nowhere.invalid"}, ""),
    "a name that no host has": ({"HOST": "a..b"}, "HOST"),
    "no address of ours": ({"HOST": "192.0.2.1"}, ""),
    "an unknown way to keep threads": ({"OPENAI_THREADS": "assistants"}, "OPENAI_THREADS"),
    "an unknown log level": ({"LOG_LEVEL": "loud"}, "LOG_LEVEL"),
}
FILES = {
    "broken.toml": "[[assistant]\n",
    "unknown.toml": '[[assistant]]\nname = "Bob"\nmodel = "m"\ninstructions = "i"\ntemperature = 1\n',
    "private.toml": '[[assistant]]\nname = "P"\nmodel = "m"\ninstructions = "i"\nprivate = true\npassword_from = "P"\n',
}


@pytest.mark.one_in(2)
@pytest.mark.parametrize(("settings", "names"), REFUSED.values(), ids=REFUSED)
async def test_what_cannot_start_says_why_in_one_sentence(
    environment: Environment, tmp_path: Path, settings: dict[str, str], names: str
) -> None:
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    async with Nursery(tmp_path) as nursery:
        process = await nursery.start(environment(**{"PORT": "0", **settings}))
        code = await process.over()
    is_one_sentence(process.text, code, names)


def is_one_sentence(said: str, code: int, names: str) -> None:
    assert code == 2, said
    (line,) = said.splitlines()
    assert line.startswith("Bob cannot start. ")
    assert names in line
    assert "hunter2" not in line


async def test_a_port_in_use_is_one_sentence(environment: Environment, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with Nursery(tmp_path) as nursery:
            process = await nursery.start(environment(PORT=f"{port}"))
            code = await process.over()
    is_one_sentence(process.text, code, f"{port}")


@pytest.mark.one_in(2)
@pytest.mark.parametrize("command", ["run", "chat"])
def test_the_shipped_command_refuses_with_exit_code_2(environment: Environment, tmp_path: Path, command: str) -> None:
    ended = run_as_shipped(environment(DATABASE_URL="mysql://u:hunter2@h/d"), tmp_path, command)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines()[-1].startswith("Bob cannot start. DATABASE_URL")
    assert "Traceback" not in ended.stderr
    assert "hunter2" not in ended.stderr


def test_help_and_version_need_no_settings(tmp_path: Path) -> None:
    nothing = {"PATH": os.environ["PATH"], "PORT": "many"}
    for arguments in (["-h"], ["run", "--help"], ["--version"]):
        ended = command(nothing, tmp_path, *arguments)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout


# ── what it says at its start ────────────────────────────────────────────────────────────────────────────────────────


async def test_the_start_names_address_database_model_and_assistants(
    fake: FakeOpenAI, environment: Environment, tmp_path: Path
) -> None:
    port = free_port()
    settings = environment(PORT=f"{port}", PRIVATE_BOB_PASSWORD="correct-horse-4711", DATABASE_URL="sqlite:///b.db")
    async with bob(settings, tmp_path) as process:
        assert await process.served() == f"http://127.0.0.1:{port}"
        async with aiohttp.ClientSession() as http, http.get(f"{process.url}/chat") as response:
            assert response.status == 200
        process.signal(signal.SIGTERM)
        assert await process.over() == 0
    text = process.text
    assert f"http://127.0.0.1:{port}/chat" in text
    assert f"POST http://127.0.0.1:{port}/ask" in text
    assert said_about(text, "database") == "SQLite, b.db"
    assert said_about(text, "model") == f"127.0.0.1:{fake.port}, threads kept there"
    assert said_about(text, "assistants") == "Bob (gpt-6-luna), Private-Bob (gpt-6.1-terra, private)"
    assert said_about(text, "surfaces") == "web"
    assert warnings_in(text) == []
    assert "correct-horse" not in text


def said_about(text: str, what: str) -> str:
    (line,) = (line for line in text.splitlines() if line.startswith(f"  {what} "))
    return line.removeprefix(f"  {what} ").strip()


def warnings_in(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("! ")]


async def test_the_start_names_a_postgresql_database_without_its_password(
    environment: Environment, postgresql: str, tmp_path: Path
) -> None:
    url = new_postgresql_database(postgresql).replace("postgresql://postgres:@", "postgresql://postgres:hunter2x@")
    async with bob(environment(DATABASE_URL=url), tmp_path) as process:
        await process.served()
        process.signal(signal.SIGTERM)
        await process.over()
    assert said_about(process.text, "database").startswith("PostgreSQL, ")
    assert "hunter2x" not in process.text


async def test_the_start_names_a_model_server_without_user_and_password(
    fake: FakeOpenAI, environment: Environment, tmp_path: Path
) -> None:
    url = fake.base_url.replace("://", "://bob:hunter2x@")
    async with bob(environment(OPENAI_BASE_URL=url), tmp_path) as process:
        await process.served()
        process.signal(signal.SIGTERM)
        await process.over()
    assert said_about(process.text, "model") == f"127.0.0.1:{fake.port}, threads kept there"
    assert "hunter2x" not in process.text


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({**OFFLINE, "PRIVATE_BOB_PASSWORD": ""}, ["OFFLINE STAND-IN"]),
        ({}, ["PRIVATE_BOB_PASSWORD"]),
        ({"PRIVATE_BOB_PASSWORD": "471147"}, ["PRIVATE_BOB_PASSWORD"]),
        (
            {"HOST": "0.0.0.0", "ALLOW_ANONYMOUS": "true", "PRIVATE_BOB_PASSWORD": ""},
            ["0.0.0.0", "ALLOWED_HOSTS"],
        ),
        ({"CORS_ALLOW_CREDENTIALS": "true", "PRIVATE_BOB_PASSWORD": ""}, ["CORS_ALLOW_CREDENTIALS"]),
        ({"CORS_ALLOW_CREDENTIALS": "1", "CORS_ALLOW_ORIGINS": "https://a.example", "PRIVATE_BOB_PASSWORD": ""}, []),
    ],
    ids=["offline", "published password", "a PIN", "everybody", "the seed's CORS", "listed CORS"],
)
async def test_the_start_warns_of_what_is_dangerous(
    environment: Environment, tmp_path: Path, settings: dict[str, str], names: Sequence[str]
) -> None:
    async with bob(environment(**settings), tmp_path) as process:
        await process.served()
        process.signal(signal.SIGTERM)
        await process.over()
    warnings = warnings_in(process.text)
    assert len(warnings) == len(names), process.text
    for warning, name in zip(warnings, names, strict=True):
        assert name in warning
    assert PASSWORD not in process.text
    assert "4711" not in process.text


async def test_with_a_key_that_was_made_everybody_may_reach_it(environment: Environment, tmp_path: Path) -> None:
    """Also under no name but those that are set, by which whoever asks whether it lives reaches it, too."""
    settings = environment(HOST="0.0.0.0", PORT=f"{free_port()}", ALLOWED_HOSTS="*.bob.example")
    assert run(settings, tmp_path, "keys", "new", "alice").returncode == 0
    async with bob(settings, tmp_path) as process:
        await process.served()
        lives = await asyncio.to_thread(run, settings, tmp_path, "healthy")
        assert (lives.returncode, lives.stderr) == (0, "")
        assert lives.stdout.startswith(f"Bob lives at http://127.0.0.1:{settings['PORT']}; store: ok, model: ")


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", b"220 mail.example ESMTP\r\n"]
)
async def test_what_does_not_answer_as_bob_does_is_not_bob(
    environment: Environment, tmp_path: Path, said: bytes
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        ended = await asyncio.to_thread(run, environment(PORT=f"{port}"), tmp_path, "healthy")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"127.0.0.1:{port}" in ended.stderr


def test_where_nobody_serves_nobody_lives(environment: Environment, tmp_path: Path) -> None:
    for port, says in ((f"{free_port()}", "connection refused"), ("0", "PORT"), ("many", "PORT")):
        ended = run(environment(PORT=port), tmp_path, "healthy")
        assert (ended.returncode, ended.stdout) == (1, "")
        assert says in ended.stderr
        assert len(ended.stderr.splitlines()) == 1


# ── how it ends ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_at_once_when_nothing_runs(
    environment: Environment, tmp_path: Path, number: signal.Signals
) -> None:
    async with bob(environment(), tmp_path) as process:
        await process.served()
        with stopwatch() as watch:
            process.signal(number)
            assert await process.over() == 0
    assert watch.seconds < 3
    assert "Traceback" not in process.text


async def test_a_signal_lets_a_running_answer_end_and_reach_its_caller(
    fake: FakeOpenAI, environment: Environment, tmp_path: Path
) -> None:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("Half, ", "rest."), gate=gate)
    async with bob(environment(), tmp_path) as process, aiohttp.ClientSession() as http:
        asking = asyncio.create_task(ask(http, await process.served(), "Q1-a"))
        await fake.until(lambda _: gate.waiting == 1)
        process.signal(signal.SIGTERM)
        await not_ready(http, process.url)
        async with http.post(f"{process.url}/ask", json={"session_id": "2", "user_input": "Q2-a"}) as refused:
            assert (refused.status, refused.headers["Retry-After"]) == (503, "2")
        gate.open()
        assert await asking == "Half, rest."
        assert await process.over() == 0
    assert "Traceback" not in process.text


async def not_ready(http: aiohttp.ClientSession, url: str) -> None:
    """Come back once no traffic is wanted there any more."""
    async with asyncio.timeout(SECONDS):
        while True:
            async with http.get(f"{url}/readyz") as response:
                if response.status == 503:
                    return
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("streaming", [False, True], ids=["json", "stream"])
async def test_a_signal_ends_it_within_the_drain_and_the_next_start_answers_what_is_left(
    fake: FakeOpenAI, environment: Environment, tmp_path: Path, sqlite_url: str, streaming: bool
) -> None:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("Half, ", "rest."), gate=gate)
    settings = environment(DRAIN_SECONDS="2")
    accept = {"Accept": "text/event-stream" if streaming else "application/json", "Idempotency-Key": "k"}
    async with bob(settings, tmp_path) as process, aiohttp.ClientSession() as http:
        url = await process.served()
        body = {"session_id": "1", "user_input": "Q1-a"}
        asking = asyncio.create_task(_whole(http, url, body, accept))
        await fake.until(lambda _: gate.waiting == 1)
        with stopwatch() as watch:
            process.signal(signal.SIGTERM)
            assert await process.over() == 0
        await asyncio.wait({asking})
        asking.exception()  # however it ended for him
    assert "Traceback" not in process.text
    assert [row["outcome"] for row in rows(sqlite_url, "SELECT outcome FROM turn")] == [None]
    fake.answer = lambda asked: "At last."
    async with bob(settings, tmp_path) as process, aiohttp.ClientSession() as http:
        assert await ask(http, await process.served(), "Q1-a", key="k") == "At last."
    assert watch.seconds < 3.5


async def _whole(http: aiohttp.ClientSession, url: str, body: dict[str, str], headers: dict[str, str]) -> str:
    async with http.post(f"{url}/ask", json=body, headers=headers) as response:
        return await response.text()


async def test_slow_clients_cannot_hold_the_exit_back(
    fake: FakeOpenAI, environment: Environment, tmp_path: Path
) -> None:
    fake.answer = lambda asked: "many words " * 50_000
    body = b'{"session_id": "1", "user_input": "Q1-a"}'
    head = (
        b"POST /ask HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: text/event-stream\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    async with bob(environment(DRAIN_SECONDS="1"), tmp_path) as process:
        port = int((await process.served()).rpartition(":")[2])
        writers = []
        for sent in (head + body, head + body[:10], head[:20]) * 3:  # they never read, and most never end what they say
            _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
            writer.write(sent)
            writers.append(writer)
        await process.says("answered")
        with stopwatch() as watch:
            process.signal(signal.SIGTERM)
            assert await process.over() == 0
        for writer in writers:
            writer.transport.abort()
    assert watch.seconds < 1 + 2 + 3
    assert "Traceback" not in process.text


async def test_a_second_signal_ends_it_now(fake: FakeOpenAI, environment: Environment, tmp_path: Path) -> None:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("Half, ", "rest."), gate=gate)
    async with bob(environment(DRAIN_SECONDS="8"), tmp_path) as process, aiohttp.ClientSession() as http:
        url = await process.served()
        asking = asyncio.create_task(_whole(http, url, {"session_id": "1", "user_input": "Q1-a"}, {}))
        await fake.until(lambda _: gate.waiting == 1)
        process.signal(signal.SIGTERM)
        await not_ready(http, url)
        with stopwatch() as watch:
            process.signal(signal.SIGTERM)
            await process.over()
        await asyncio.wait({asking})
        asking.exception()
    assert watch.seconds < 3


# ── a plain uvicorn ──────────────────────────────────────────────────────────────────────────────────────────────────

UVICORN = (sys.executable, "-m", "uvicorn", "web.main:app", "--port", "0")


async def test_a_plain_uvicorn_lets_a_running_answer_end_as_well(
    fake: FakeOpenAI, environment: Environment, tmp_path: Path
) -> None:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("Half, ", "rest."), gate=gate)
    async with executed(environment(), tmp_path, *UVICORN) as process, aiohttp.ClientSession() as http:
        asking = asyncio.create_task(ask(http, await process.served(), "Q1-a"))
        await fake.until(lambda _: gate.waiting == 1)
        process.signal(signal.SIGTERM)
        await process.says("Shutting down")
        gate.open()
        assert await asking == "Half, rest."
        await process.over()
    assert "Traceback" not in process.text


async def test_a_plain_uvicorn_ends_within_the_drain_as_well(
    fake: FakeOpenAI, environment: Environment, tmp_path: Path, sqlite_url: str
) -> None:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("Half, ", "rest."), gate=gate)
    settings = environment(DRAIN_SECONDS="1")
    async with executed(settings, tmp_path, *UVICORN) as process, aiohttp.ClientSession() as http:
        url = await process.served()
        asking = asyncio.create_task(_whole(http, url, {"session_id": "1", "user_input": "Q1-a"}, {}))
        await fake.until(lambda _: gate.waiting == 1)
        with stopwatch() as watch:
            process.signal(signal.SIGTERM)
            await process.over()
        await asyncio.wait({asking})
        asking.exception()
    assert watch.seconds < 1 + 2 + 3
    assert [row["lease_owner"] for row in rows(sqlite_url, "SELECT lease_owner FROM turn")] == [None]


# ── bob chat ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def chat(environment: Environment, folder: Path, said: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(environment(**OFFLINE, PRIVATE_BOB_PASSWORD=PASSWORD), folder, "chat", *arguments, said=said)


def test_chat_answers_over_a_pipe_and_remembers_also_the_next_time(environment: Environment, tmp_path: Path) -> None:
    first = run_as_shipped(environment(**OFFLINE), tmp_path, "chat", said="I like tea\nAnd cake\n")
    assert first.returncode == 0, first.stderr
    assert "You said “I like tea”. This is the first thing you say to me here." in first.stdout
    assert "Before that you said one thing: “I like tea”." in first.stdout
    second = chat(environment, tmp_path, "Well?\n/quit\nnot read\n")
    assert "Before that you said 2 things: “I like tea”, “And cake”." in second.stdout
    assert "not read" not in second.stdout
    assert "Traceback" not in first.stderr + second.stderr


def test_chat_sends_files_with_the_first_question(environment: Environment, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("all about tea")
    (tmp_path / "b.txt").touch()
    ended = chat(environment, tmp_path, "What is it?\nAnd now?\n", "--file", "a.txt", "--file", "b.txt")
    assert ended.returncode == 0, ended.stderr
    assert "! b.txt cannot be read: it is empty." in ended.stderr
    first, second = ended.stdout.split("You: ")[1:3]
    assert "> all about tea" in first
    assert "You said “And now?”" in second
    missing = chat(environment, tmp_path, "Hello\n", "--file", "none.txt")
    assert missing.returncode == 2
    assert "No such file" in missing.stderr


def test_chat_shows_what_was_heard_in_a_recording(environment: Environment, fake: FakeOpenAI, tmp_path: Path) -> None:
    (tmp_path / "a.ogg").write_bytes(ogg())
    ended = run(environment(), tmp_path, "chat", "--file", "a.ogg", said="Well?\n")
    assert ended.returncode == 0, ended.stderr
    assert "> What time is it?" in ended.stderr
    assert len(fake.spoken) == 1


def test_chat_sends_a_recording_alone_at_an_empty_line(
    environment: Environment, fake: FakeOpenAI, tmp_path: Path
) -> None:
    (tmp_path / "a.ogg").write_bytes(ogg())
    ended = run(environment(), tmp_path, "chat", "--file", "a.ogg", said="\n\n")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("> What time is it?") == 1
    assert (len(fake.spoken), ended.stdout.count("\nBob: ")) == (1, 1)


def test_chat_begins_anew_after_a_reset_and_keeps_sessions_apart(environment: Environment, tmp_path: Path) -> None:
    ended = chat(environment, tmp_path, "I like tea\n/reset\nAnd now?\n")
    assert "We begin anew." in ended.stdout
    assert ended.stdout.count("This is the first thing you say to me here.") == 2
    other = chat(environment, tmp_path, "Hello\n", "--session", "other")
    assert "This is the first thing you say to me here." in other.stdout


def test_chat_forgets_and_changes_assistants_and_helps(
    environment: Environment, tmp_path: Path, sqlite_url: str
) -> None:
    ended = chat(environment, tmp_path, "I like tea\n/forget\n/help\n/assistant Private-Bob\n/assistant Bob\nHi\n\n")
    assert ended.returncode == 0, ended.stderr
    for said in ("Forgotten.", "/reset", "There is no such assistant to choose here.", "Bob answers from now on."):
        assert said in ended.stdout
    assert [row["question"] for row in rows(sqlite_url, "SELECT question FROM turn ORDER BY number")] == ["", "Hi"]


def test_chat_asks_the_private_assistant_and_warns_at_its_start(environment: Environment, tmp_path: Path) -> None:
    ended = chat(environment, tmp_path, f"{PASSWORD} my secret\nand in public?\n")
    assert "[offline stand-in, as Private-Bob] You said “my secret”." in ended.stdout
    assert "[offline stand-in, as Bob] You said “and in public?”. This is the first thing" in ended.stdout
    assert PASSWORD not in ended.stdout + ended.stderr
    assert "OFFLINE STAND-IN" in ended.stderr
    assert "published default" in ended.stderr


def test_chat_asks_nobody_what_it_cannot_read_and_goes_on_and_says_so_at_its_end(
    environment: Environment, tmp_path: Path, sqlite_url: str
) -> None:
    ended = subprocess.run(
        [BOB, "chat"], env=environment(**OFFLINE), cwd=tmp_path, input=b"gr\xfc\xdfe\nhello\n", capture_output=True,
        timeout=SECONDS, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert b"not written in utf-8" in ended.stderr
    assert b"Traceback" not in ended.stderr
    assert [row["question"] for row in rows(sqlite_url, "SELECT question FROM turn")] == ["hello"]


def test_chat_shows_what_a_terminal_has_no_characters_for_as_question_marks(
    environment: Environment, tmp_path: Path
) -> None:
    ended = run_as_shipped(environment(**OFFLINE, PYTHONIOENCODING="latin-1"), tmp_path, "chat", said="hello\n")
    assert (ended.returncode, "?hello?" in ended.stdout, "Traceback" in ended.stderr) == (0, True, False)


@pytest.mark.parametrize("read", [b"commands.\n", b"Half, "], ids=["before a question", "in an answer"])
def test_chat_ends_quietly_and_stops_its_answer_where_nobody_reads_it_any_more(
    fake: FakeOpenAI, environment: Environment, tmp_path: Path, sqlite_url: str, read: bytes
) -> None:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("Half, ", "more, ", 600.0, "rest."), gate=gate)
    with subprocess.Popen(
        [BOB, "chat"], env=environment(DRAIN_SECONDS="1"), cwd=tmp_path, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b"hello\n")
        shown = b""
        while not shown.endswith(read):
            shown += process.stdout.read(1)
        process.stdout.close()
        gate.open()
        process.stdin.close()
        said = process.stderr.read()
        assert process.wait(SECONDS) == 1
    assert b"Traceback" not in said
    assert b"cannot start" not in said
    assert rows(sqlite_url, "SELECT 1 FROM turn WHERE outcome IS NULL") == []


@pytest.mark.one_in(2)
@pytest.mark.parametrize("closed", ["<&-", ">&-"])
def test_chat_without_input_or_output_ends(environment: Environment, tmp_path: Path, closed: str) -> None:
    ended = subprocess.run(
        ["/bin/sh", "-c", f'"{BOB}" chat {closed}'], env=environment(**OFFLINE), cwd=tmp_path, capture_output=True,
        timeout=SECONDS, check=False,
    )  # fmt: skip
    assert (ended.returncode, b"Traceback" in ended.stderr) == (0, False)


def test_chat_says_in_a_sentence_that_its_output_takes_nothing_any_more(
    environment: Environment, tmp_path: Path
) -> None:
    command = ["/bin/sh", "-c", f'echo hello | "{BOB}" chat > /dev/full']
    ended = subprocess.run(command, env=environment(**OFFLINE), cwd=tmp_path, capture_output=True, timeout=SECONDS)
    assert (ended.returncode, b"Traceback" in ended.stderr) == (1, False)
    assert b"Nothing more can be written: No space left on device." in ended.stderr


@pytest.mark.parametrize("session", [b"\xff", b"a\nb"])
def test_chat_takes_only_text_for_a_session(environment: Environment, tmp_path: Path, session: bytes) -> None:
    ended = command(environment(**OFFLINE), tmp_path, "chat", "--session", os.fsdecode(session))
    assert (ended.returncode, "has to be one line of text" in ended.stderr) == (2, True)


def test_chat_ends_with_its_input_also_when_nothing_was_said(environment: Environment, tmp_path: Path) -> None:
    ended = chat(environment, tmp_path, "")
    assert (ended.returncode, "Traceback" in ended.stderr) == (0, False)


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_key_is_made_shown_once_listed_and_revoked(environment: Environment, tmp_path: Path) -> None:
    settings = environment()
    made = [
        run(settings, tmp_path, "keys", "new", name, *more)
        for name, *more in (["alice"], ["shop", "--origin", "https://shop.example/", "--owner", "alice"])
    ]
    alice, shop = (each.stdout.strip() for each in made)
    assert len({alice, shop}) == 2
    assert min(len(alice), len(shop)) > 40
    listed = run(settings, tmp_path, "keys", "list").stdout
    assert alice not in listed
    assert [line.split()[1] for line in listed.splitlines()] == ["alice", "shop"]
    assert "publishable on https://shop.example, not private, owner alice;" in listed
    assert run(settings, tmp_path, "keys", "revoke", "alice").stdout.endswith(" alice.\n")
    assert "revoked" in run(settings, tmp_path, "keys", "list").stdout.splitlines()[0]


async def test_private_assistants_are_open_to_secret_keys_and_to_publishable_ones_only_where_that_was_said(
    environment: Environment, tmp_path: Path, sqlite_url: str
) -> None:
    origin = ("--origin", "https://shop.example")
    wanted = {
        ("secret",): True,
        ("shut", "--no-private"): False,
        ("shop", *origin): False,
        ("club", *origin, "--private"): True,
    }
    for arguments in wanted:
        made = run(environment(), tmp_path, "keys", "new", *arguments)
        assert made.returncode == 0, made.stderr
    stored = {row["name"]: bool(row["private"]) for row in rows(sqlite_url, "SELECT name, private FROM api_key")}
    assert stored == {arguments[0]: private for arguments, private in wanted.items()}
    listed = run(environment(), tmp_path, "keys", "list").stdout
    shown = {line.split()[1]: ", not private;" not in line and ", private;" in line for line in listed.splitlines()}
    assert shown == stored


def test_identity_keys_are_made_shown_once_listed_and_retired_by_their_ids(
    environment: Environment, tmp_path: Path
) -> None:
    settings = environment(IDENTITY_SECRET="a-secret-of-identities-that-nobody-guesses")
    origin = ("--origin", "https://shop.example")
    assert run(settings, tmp_path, "keys", "new", "shop", *origin, "--identity", "offered").returncode == 0
    made = [run(settings, tmp_path, "keys", "identity", "new", "shop").stdout.split() for _ in range(2)]
    assert [each[::2] for each in made] == [["kid", "secret"]] * 2
    (one, of_one), (two, of_two) = (each[1::2] for each in made)
    assert len({one, two}) == len({of_one, of_two}) == 2
    assert run(settings, tmp_path, "keys", "identity", "retire", one).stdout == f"Retired {one}.\n"
    listed = run(settings, tmp_path, "keys", "identity", "list").stdout
    assert ["retired" in line for line in listed.splitlines()] == [True, False]
    assert of_one not in listed
    assert run(settings, tmp_path, "keys", "identity", "mode", "shop", "required").stdout == ""
    assert ", identity required;" in run(settings, tmp_path, "keys", "list").stdout
    without = run(environment(), tmp_path, "keys", "identity", "new", "shop")
    assert (without.returncode, without.stdout) == (2, "")
    assert without.stderr.startswith("Bob cannot start. IDENTITY_SECRET is not set")


@pytest.mark.parametrize(
    "arguments",
    [
        ("new", "a:b"),
        ("new", "x", "--owner", "a:b"),
        ("new", "x", "--identity", "offered"),
        ("identity", "new", "nobody"),
        ("identity", "mode", "set", "required"),
        ("identity", "retire", "nobody"),
        ("new", "public"),
        ("new", "set"),
        ("new", "Set"),
        ("new", "x", "--origin", "example"),
        ("revoke", "nobody"),
    ],
)
def test_a_key_that_cannot_be_made_or_revoked_is_one_sentence(
    environment: Environment, tmp_path: Path, arguments: Sequence[str]
) -> None:
    refused = run(environment(API_KEYS="set:a-key-for-the-test"), tmp_path, "keys", *arguments)
    assert refused.returncode != 0
    assert refused.stdout == ""
    assert len(refused.stderr.strip().splitlines()) == 1
    assert "a-key-for-the-test" not in refused.stderr


# ── settings that nothing can be begun with ──────────────────────────────────────────────────────────────────────────

UNUSABLE = {
    "DATABASE_URL": "postgresql://bob:hunter2@db.example:abc/bob",
    "OPENAI_BASE_URL": "https://bob:hunter2@api.example:99999/v1",
    "SLACK_API_URL": "hunter2.example/api",
    "DISCORD_API_URL": "https://discord.example:abc/hunter2",
    "PORT": "hunter2",
    "DRAIN_SECONDS": "nan",
    "MAX_TURNS_AT_ONCE": "9" * 30,
    "TRUSTED_PROXIES": "hunter2",
    "DISCORD_GUILDS": "hunter2",
}
BEGUN = {
    "run": ("run",),
    "chat": ("chat",),
    "keys": ("keys", "list"),
    "backup": ("backup", "copy.db"),
    "uvicorn": UVICORN,
    "Slack alone": (sys.executable, "-m", "bots.slack"),
}


@pytest.mark.one_in(3)
@pytest.mark.parametrize("begun", BEGUN.values(), ids=BEGUN)
def test_a_setting_that_cannot_be_used_is_one_sentence_however_bob_is_begun(
    environment: Environment, tmp_path: Path, begun: tuple[str, ...]
) -> None:
    named = {"DATABASE_URL": UNUSABLE["DATABASE_URL"]} if begun != BEGUN["run"] else UNUSABLE
    for name, value in named.items():
        settings = environment(**{name: value})
        if begun[0] == sys.executable:
            ended = subprocess.run(
                begun, env=settings, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False
            )
        else:
            ended = command(settings, tmp_path, *begun)
        (line,) = ended.stderr.splitlines()
        assert ended.returncode == 2
        assert name in line
        assert "hunter2" not in line
