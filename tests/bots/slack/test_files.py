"""Files that people send in Slack: fetched from Slack's own hosts, read and told, or named with the reason."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from yarl import URL

from bots.slack import files as slack_files
from bots.slack.files import slacks_hosts
from tests.bots.conftest import HI, SECONDS, Bob, Start, answered, closed, comes_true, held, turns
from tests.conftest import PASSWORD
from tests.core.fixtures.database import contents, rows
from tests.core.fixtures.files import pdf, picture
from tests.core.test_files import kinds, seen, stored, texts
from tests.fakes.openai_api import FakeOpenAI
from tests.fakes.slack_api import FakeSlack

LONG = b"line\n" * 200 + b"the last line"
PAGE = b"<!DOCTYPE html><html>Sign in</html>"
READABLE: dict[str, dict[str, Any]] = {
    "a picture": {"name": "a.png", "content": picture(), "mimetype": "image/png"},
    "a PDF": {"name": "b.pdf", "content": pdf(), "mimetype": "application/pdf"},
    "a snippet, of which the message has the beginning": {
        "name": "c.log", "content": LONG, "more": {"mode": "snippet", "preview": "line", "preview_is_truncated": True},
    },
    "one of which the event tells nothing": {"name": "d.log", "content": LONG, "is_stub": True},
    "one that Slack has yet to look through": {"name": "e.log", "content": LONG, "looks_before_it_is_scanned": 2},
    "one that is elsewhere on the same host": {"name": "f.log", "content": LONG, "redirects": ("", "")},
    "a page that somebody sent": {"name": "g.html", "content": PAGE, "mimetype": "text/html"},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slack_files, "SECONDS_BETWEEN_LOOKS", (0.01, 0.01, 0.01))


async def test_files_are_read_whole_however_slack_tells_of_them(slack: FakeSlack, fake: FakeOpenAI, bob: Start) -> None:
    asked = seen(fake)
    async with bob():
        for what, how in READABLE.items():
            ts = slack.says("U1", "D1", "what is this?", files=[slack.add_file(**how)])
            assert await answered(slack, "D1", ts) == "Well.", what
    picture_, pdf_, snippet, *_, page = asked
    assert kinds(picture_.files) == ["image/png"]
    assert kinds(pdf_.files) == ["b.pdf"]
    assert all(texts(each).count("the last line") == 1 for each in asked[2:-1])
    assert texts(snippet).count("> line") == 200
    assert "Sign in" in texts(page)
    assert all(each.has_token for each in slack.downloads)


def _elsewhere(slack: FakeSlack) -> str:
    return f"http://localhost:{slack.port}/files-pri/T1-F1/a.txt"


UNREADABLE: dict[str, tuple[Callable[[FakeSlack], dict[str, Any]], str, int]] = {
    "an external one": (
        lambda _: {"more": {"is_external": True, "mode": "external", "url_private": "https://docs.example/1"}},
        "it lies elsewhere, where I do not look", 0,
    ),
    "one whose address is another host's": (
        lambda slack: {"more": {"url_private_download": _elsewhere(slack)}},
        "it lies elsewhere, where I do not look", 0,
    ),
    "one that leads to another host": (
        lambda slack: {"redirects": (_elsewhere(slack),)}, "it lies elsewhere, where I do not look", 1,
    ),
    "one that leads on and on": (lambda _: {"redirects": ("",) * 9}, "it could not be fetched", 4),
    "a page in place of it": (lambda _: {"content": PAGE, "more": {"size": 3}}, "I may not see it", 1),
    "one that is gone": (lambda _: {"is_deleted": True}, "it is not there any more", 0),
    "one without an address": (
        lambda _: {"more": {"url_private_download": None, "url_private": None}}, "I may not see it", 0,
    ),
    "one that is large": (lambda _: {"content": b"x" * 50_001}, "it is larger than 50,000 bytes", 0),
    "one that is larger than it says": (
        lambda _: {"content": b"x" * 50_001, "more": {"size": 3}}, "it is larger than 50,000 bytes", 1,
    ),
    "one that Slack does not end looking through": (
        lambda _: {"looks_before_it_is_scanned": 9}, "Slack is still checking it: ask again in a minute", 0,
    ),
    "a film": (lambda _: {"mimetype": "video/mp4"}, "films cannot be read, nor can recordings of this kind", 0),
    "a canvas": (lambda _: {"more": {"filetype": "quip"}}, "canvases and lists cannot be read", 0),
    "a program": (lambda _: {"content": b"MZ\0\0"}, "files of this kind cannot be read", 1),
    "an empty one": (lambda _: {"content": b""}, "it is empty", 1),
}  # fmt: skip


async def test_a_file_that_cannot_be_had_is_named_with_the_reason_and_costs_nothing_else(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    asked = seen(fake)
    async with bob(max_file_bytes=50_000):
        for what, (how, problem, requests) in UNREADABLE.items():
            before = len(slack.downloads)
            files = [
                slack.add_file(**{"name": "a.bin", "content": b"a", **how(slack)}),
                slack.add_file("b.txt", b"bee"),
            ]
            ts = slack.says("U1", "D1", "what is this?", files=files)
            assert await answered(slack, "D1", ts) == f"_I have not seen: a.bin ({problem})_\n\nWell.", what
            assert f'Attached, and not readable for you: "a.bin" ({problem})' in texts(asked[-1])
            assert "> bee" in texts(asked[-1]), what
            assert len(slack.downloads) - before == requests + 1, what
    assert {each.host for each in slack.downloads} == {f"127.0.0.1:{slack.port}"}


async def test_without_the_scope_somebody_is_told_once_a_day_that_the_app_wants_to_be_reinstalled(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    asked = seen(fake)
    slack.scopes = slack.scopes - {"files:read"}
    more = {"mode": "snippet", "preview": "the beginning", "preview_is_truncated": True}
    async with bob():
        notices = []
        for _ in range(2):
            ts = slack.says("U1", "D1", "what is this?", files=[slack.add_file("a.log", LONG, more=more)])
            notices.append((await answered(slack, "D1", ts)).partition("\n\n")[0])
    why = "I may not read files here"
    assert notices == [
        f"_I have not seen: a.log ({why} until somebody reinstalls the app, which asks for that by now)_",
        f"_I have not seen: a.log ({why})_",
    ]
    assert all("> the beginning" in texts(each) for each in asked)


@pytest.mark.parametrize("address", [
    "https://files.slack.com/x", "https://a.b.slack.com/x", "https://slack-files.slack-edge.com/x",
    "http://127.0.0.1:1/api/files",
])  # fmt: skip
def test_the_token_goes_to_slack(address: str) -> None:
    assert slacks_hosts("http://127.0.0.1:1/", "xoxb").include(URL(address))


@pytest.mark.parametrize("address", [
    "http://files.slack.com/x", "https://files.slack.com:444/x", "https://files.slack.com.evil.example/x",
    "https://evilslack.com/x", "https://user@files.slack.com/x", "https://evil.example/files.slack.com",
    "https://files.slack.com@evil.example/", "https://evil.example#.slack.com", "http://127.0.0.1:2/", "/x", "",
    "ftp://files.slack.com/x", "https://files.slack-gov.com/x",
])  # fmt: skip
def test_the_token_goes_nowhere_else(address: str) -> None:
    assert not slacks_hosts("http://127.0.0.1:1/", "xoxb").include(URL(address))


def test_the_governments_slack_has_hosts_of_its_own() -> None:
    hosts = slacks_hosts("https://slack-gov.com/api/", "xoxb")
    assert hosts.include(URL("https://files.slack-gov.com/x"))
    assert not hosts.include(URL("https://files.slack.com/x"))


# ── once and whole, whoever dies ─────────────────────────────────────────────────────────────────────────────────────


async def _is_fetched_only(slack: FakeSlack, fake: FakeOpenAI, running: Bob, patch: pytest.MonkeyPatch) -> None:
    """The file is read, and the process dies before it is the turn's."""
    reached = asyncio.Event()

    async def for_ever(*_: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    patch.setattr(running.chat._store.attachments, "give", for_ever)
    slack.says("U1", "C1", f"{HI} what is this?", files=[slack.add_file("a.log", LONG)])
    await asyncio.wait_for(reached.wait(), SECONDS)


async def _is_kept(slack: FakeSlack, fake: FakeOpenAI, running: Bob, patch: pytest.MonkeyPatch) -> None:
    """The file is the turn's, and the process dies before that is prepared."""
    reached = asyncio.Event()

    async def for_ever(*_: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    patch.setattr(running.chat._store.turns, "note_prepared", for_ever)
    slack.says("U1", "C1", f"{HI} what is this?", files=[slack.add_file("a.log", LONG)])
    await asyncio.wait_for(reached.wait(), SECONDS)


async def _is_asked(slack: FakeSlack, fake: FakeOpenAI, running: Bob, _: pytest.MonkeyPatch) -> None:
    """The model is asked, and the process dies before it answers."""
    held(fake, "Well.", after=0)
    slack.says("U1", "C1", f"{HI} what is this?", files=[slack.add_file("a.log", LONG)])
    await fake.until(lambda fake: fake.active == 1)


@pytest.mark.parametrize(("moment", "fetched"), [(_is_fetched_only, 2), (_is_kept, 1), (_is_asked, 1)])
async def test_whoever_takes_over_gives_the_model_the_file_once_and_whole(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, moment: Any, fetched: int
) -> None:
    async with bob() as running:
        with pytest.MonkeyPatch.context() as patch:
            await moment(slack, fake, running, patch)
            await running.dies()
    asked = seen(fake)
    async with bob():
        await closed(sqlite_url)
    (last,) = asked
    assert texts(last).count("the last line") == 1
    assert len(slack.downloads) == fetched
    assert len(rows(sqlite_url, "SELECT * FROM attachment WHERE turn_id IS NOT NULL")) == 1
    assert turns(sqlite_url)[0]["files"] == 1


# ── privacy ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_file_that_is_sent_with_the_password_is_told_to_the_private_assistant_alone(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    asked = seen(fake)
    async with bob():
        ts = slack.says("U1", "D1", f"{PASSWORD} look", files=[slack.add_file(f"{PASSWORD}.log", b"SECRET-1")])
        assert await answered(slack, "D1", ts) == "🔒 _Private-Bob_\n\nWell."
        slack.says("U1", "D1", "and now?", thread_ts=ts)
        await comes_true(lambda: len(asked) == 2)
    assert "SECRET-1" in texts(asked[0])
    assert "SECRET-1" not in texts(asked[1])
    assert '"••••••.log"' in texts(asked[0])
    assert PASSWORD not in contents(sqlite_url)


async def test_nothing_is_kept_of_the_files_of_a_question_that_is_deleted_before_its_answer(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    held(fake, after=0)
    async with bob():
        ts = slack.says("U1", "D1", "look", files=[slack.add_file("a.png", picture(), "image/png")])
        await fake.until(lambda fake: fake.active == 1)
        assert stored(sqlite_url) == (1, 1)
        slack.deletes("D1", ts)
        await closed(sqlite_url, "withdrawn")
    assert stored(sqlite_url) == (0, 0)


async def test_the_files_of_a_question_that_is_changed_stay_and_are_not_fetched_again(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    held(fake, after=0)
    async with bob():
        ts = slack.says("U1", "D1", "look", files=[slack.add_file("a.log", LONG)])
        await fake.until(lambda fake: fake.active == 1)
        asked = seen(fake)
        slack.edits("D1", ts, "what is this?")
        assert await answered(slack, "D1", ts) == "Well."
    assert "what is this?" in texts(asked[0])
    assert "the last line" in texts(asked[0])
    assert len(slack.downloads) == 1


async def test_somebody_who_may_not_ask_has_no_files_fetched(slack: FakeSlack, bob: Start, sqlite_url: str) -> None:
    async with bob(slack_people="U2"):
        ts = slack.says("U1", "D1", "look", files=[slack.add_file("a.log", LONG)])
        assert "not on the list" in await answered(slack, "D1", ts)
    assert list(slack.downloads) == []
    assert stored(sqlite_url) == (0, 0)
