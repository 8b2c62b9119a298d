"""Logs hold fates and ids: no secret, whether known or only looking like one, and nothing that somebody wrote."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from core import AnswerFailed, Preparation, Question, Sentence, Turn, configure_logging
from core.logs import RedactingFormatter, kind_of
from tests.conftest import KEY, PASSWORD, opened
from tests.core.fixtures.database import new_engine
from tests.fakes.openai_api import FakeOpenAI, Status

SLACK_TOKEN = "xoxb-12345-abcdefGHIJKL"
DISCORD_TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAx" + ".GabcDE." + "abcdefghijklmnopqrstuvwxyz0123456789AB"


def formatted(message: str, *args: object, secrets: tuple[str, ...] = (), error: BaseException | None = None) -> str:
    failure = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord("core.chat", logging.WARNING, __file__, 1, message, args, failure)
    return RedactingFormatter(secrets).format(record)


def raised(action: Callable[[], object]) -> BaseException:
    try:
        action()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    ("message", "secret"),
    [
        ("the key is sk-proj-abcDEF123456", "sk-proj-abcDEF123456"),
        ("the key is sk-abcd1234.", "sk-abcd1234"),
        ("Incorrect API key provided: sk-test1************wxyz", "wxyz"),
        (f"token {SLACK_TOKEN} was refused", SLACK_TOKEN),
        ("token xoxp-1-2-3-abc was refused", "xoxp-1-2-3-abc"),
        ("token xapp-1-A0-123-abcdef was refused", "xapp-1-A0-123-abcdef"),
        (f"token {DISCORD_TOKEN} was refused", DISCORD_TOKEN),
        ("Authorization: Bearer abc.def-123", "abc.def-123"),
        ("{'authorization': 'Bearer abc.def-123'}", "abc.def-123"),
        ("cannot connect to postgresql://bob:swordfish@db.example:5432/bob", "swordfish"),
        ("cannot connect to postgresql://bob@tenant:swordfish@db.example/bob", "swordfish"),
        ("cannot connect to postgresql://bob:sea@swordfish@db.example/bob", "swordfish"),
        ("cannot connect to https://user:swordfish@proxy.example/", "swordfish"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out(message: str, secret: str) -> None:
    assert secret in message
    for text in (formatted(message), formatted("%s", message), formatted("first line\n%s", message)):
        assert secret not in text
        assert "[secret]" in text


@pytest.mark.parametrize("secret", [KEY, PASSWORD, "correct horse battery", "a+b(c)[d]*", "swordfish"])
def test_what_is_known_to_be_a_secret_is_taken_out_wherever_it_stands(secret: str) -> None:
    text = formatted("%s and /path/%s?x=%s", secret, secret, secret, secrets=("other", secret))
    assert secret not in text
    assert text.count("[secret]") == 3


def test_a_secret_that_begins_like_another_is_taken_out_whole() -> None:
    assert "fish" not in formatted("it is swordfish", secrets=("sword", "swordfish"))


def test_a_secret_too_short_to_be_one_does_not_make_logs_unreadable() -> None:
    assert formatted("turn 12345678 answered", secrets=("", "1", "123")).endswith("turn 12345678 answered")


@pytest.mark.parametrize(
    "message",
    [
        "turn 1a2b3c4d answered",
        "the task is at risk-free end, see https://example.com/a:b",
        "listening on http://127.0.0.1:8000",
        "retry in 5 s, request req_0123456789abcdef",
    ],
)
def test_what_is_no_secret_stays(message: str) -> None:
    assert formatted(message).endswith(f"WARNING core.chat: {message}")


# ── exceptions ───────────────────────────────────────────────────────────────────────────────────────────────────────


def fail_for_a_reason() -> None:
    try:
        raise ValueError("pomegranate one")
    except ValueError as error:
        raise KeyError("pomegranate two") from error


def fail_on_the_way() -> None:
    try:
        raise ValueError("pomegranate one")
    except ValueError:
        raise KeyError("pomegranate two")  # noqa: B904 - this is what is tested


def fail_with_a_note() -> None:
    error = ValueError("pomegranate")
    error.add_note("a note about a pomegranate")
    raise error


def fail_several_times() -> None:
    raise ExceptionGroup("pomegranates", [ValueError("pomegranate one"), TypeError("pomegranate two")])


@pytest.mark.parametrize("fail", [fail_for_a_reason, fail_on_the_way, fail_with_a_note, fail_several_times])
def test_of_an_exception_its_types_and_places_are_logged_and_no_message(fail: Callable[[], None]) -> None:
    text = formatted("turn 1a2b3c4d failed", error=raised(fail))
    messages = [line for line in text.splitlines() if not line.lstrip().startswith(("File ", "raise "))]
    assert "pomegranate" not in "\n".join(messages)
    assert "builtins." in text
    assert f'File "{__file__}"' in text
    assert fail.__name__ in text


@pytest.mark.parametrize("fail", [fail_for_a_reason, fail_on_the_way])
def test_of_a_chain_of_exceptions_each_is_named(fail: Callable[[], None]) -> None:
    text = formatted("turn 1a2b3c4d failed", error=raised(fail))
    assert "builtins.KeyError" in text
    assert "builtins.ValueError" in text


def test_a_secret_in_a_chain_of_exceptions_is_taken_out() -> None:
    def fail() -> None:
        try:
            raise ValueError(SLACK_TOKEN)
        except ValueError as error:
            raise KeyError("Bearer swordfish") from error

    text = formatted("it failed", error=raised(fail))
    assert SLACK_TOKEN not in text
    assert "swordfish" not in text.replace('KeyError("Bearer swordfish")', "")


def test_what_a_database_choked_on_is_not_logged(sqlite_url: str) -> None:
    def choke() -> None:
        engine = new_engine(sqlite_url)
        with engine.connect() as connection:
            connection.execute(sa.text("SELECT :said FROM nowhere"), {"said": "a pome" + "granate"})

    text = formatted("the store does not answer", error=raised(choke))
    assert "pomegranate" not in text
    assert "sqlalchemy.exc.OperationalError" in text


def test_a_kind_of_error_is_its_full_name() -> None:
    assert kind_of(AnswerFailed(Sentence("pomegranate"))) == "core.errors.AnswerFailed"


# ── the whole process ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    """The root logger, put back in order afterwards."""
    root = logging.getLogger()
    loggers = [root, *(logging.getLogger(name) for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "openai"))]
    before = [(each, list(each.handlers), each.level, each.propagate) for each in loggers]
    yield root
    for each, handlers, level, propagate in before:
        each.handlers, each.propagate = handlers, propagate
        each.setLevel(level)


async def test_a_conversation_leaves_fates_and_ids_in_the_logs_and_nothing_that_was_said(
    fake: FakeOpenAI, sqlite_url: str, root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    async def choke(_: Turn) -> Preparation:
        raise ValueError("a pome" + "granate")

    configure_logging("debug", (KEY, PASSWORD))
    async with opened(fake, sqlite_url) as chat:
        turns: list[Turn] = []
        for text, prepare in ((f"pomegranate {PASSWORD}", None), ("pomegranate", None), ("pomegranate", choke)):
            turn = await chat.accept(Question("web", "web:public:1", text))
            assert turn is not None
            turns.append(turn)
            if turn.number == 2:
                fake.fail("POST", "/responses", Status(400, error_code="invalid_prompt", message="No pomegranates."))
            await chat.answering(turn, prepare=prepare).ended()
    logged = capsys.readouterr().err
    for turn, fate in zip(turns, ("answered", "failed", "failed"), strict=True):
        assert f"turn {turn.reference} accepted" in logged
        assert f"turn {turn.reference} {fate}" in logged
        assert turn.id not in logged  # whoever knows it may stop the turn
    for unspeakable in ("pomegranate", "No pome", KEY, PASSWORD):
        assert unspeakable not in logged


def test_libraries_that_talk_of_requests_are_kept_quiet_at_every_level(
    root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("debug", ())
    for name in ("openai", "openai._base_client", "httpx2", "aiohttp.client", "sqlalchemy.engine"):
        logging.getLogger(name).info("Request options: pomegranate")
    logging.getLogger("core.chat").debug("a fate")
    assert capsys.readouterr().err.splitlines()[0].endswith("DEBUG   core.chat: a fate")


def test_uvicorn_logs_the_same_way(root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    loud = logging.StreamHandler(sys.stderr)
    for name in ("uvicorn", "uvicorn.access"):
        logging.getLogger(name).handlers = [loud]
        logging.getLogger(name).propagate = False
    configure_logging("info", ("swordfish",))
    logging.getLogger("uvicorn.access").info("GET /?key=%s", "swordfish")
    assert capsys.readouterr().err.splitlines()[0].endswith("INFO    uvicorn.access: GET /?key=[secret]")
