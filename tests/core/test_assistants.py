"""Assistants are declared in TOML, strictly: what we do not understand is an error at start, not a surprise later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from core import Assistants, AssistantsFileError, Question, Settings, StartError, start_warnings
from tests.conftest import opened
from tests.fakes.openai_api import FakeOpenAI

ANN = 'name = "Ann"\nmodel = "gpt-6-luna"\ninstructions = "Be Ann."'
EVE = 'name = "Eve"\nmodel = "gpt-6-luna"\ninstructions = "Be Eve."\nprivate = true\npassword_from = "EVES_PASSWORD"'


def written(path: Path, *tables: str) -> Path:
    file = path / "assistants.toml"
    file.write_text("\n\n".join(f"[[assistant]]\n{table}" for table in tables), encoding="utf-8")
    return file


def test_bob_brings_a_public_and_a_private_assistant_along() -> None:
    assistants = Assistants.load()
    bob, private_bob = assistants
    assert assistants.default is bob
    assert (bob.name, bob.private, bob.password_from) == ("Bob", False, None)
    assert (private_bob.name, private_bob.private) == ("Private-Bob", True)
    assert private_bob.password_from == "PRIVATE_BOB_PASSWORD"
    for assistant in assistants:
        assert assistant.name in assistant.instructions
        assert assistant.token_budget == 60_000


def test_a_model_that_is_set_takes_the_place_of_those_of_the_assistants_brought_along(tmp_path: Path) -> None:
    assert [each.model for each in Assistants.load(model="qwen3:8b")] == ["qwen3:8b", "qwen3:8b"]
    assert [each.model_copy(update={"model": ""}) for each in Assistants.load(model="qwen3:8b")] == [
        each.model_copy(update={"model": ""}) for each in Assistants.load()
    ]
    assert Assistants.load(written(tmp_path, ANN), model="qwen3:8b").default.model == "gpt-6-luna"


def test_the_start_says_that_a_model_beside_assistants_of_ones_own_is_not_used(tmp_path: Path) -> None:
    settings = Settings(openai_model="qwen3:8b", private_bob_password=SecretStr(""), _env_file=None)
    assert not any("OPENAI_MODEL" in each for each in start_warnings(settings, serving=True))
    own = settings.model_copy(update={"assistants_file": written(tmp_path, ANN)})
    assert any("OPENAI_MODEL is not used" in each for each in start_warnings(own, serving=True))


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    (ann,) = Assistants.load(written(tmp_path, ANN))
    assert (ann.reasoning_effort, ann.max_output_tokens, ann.tools) == (None, None, ())
    assert (ann.token_budget, ann.private, ann.password_from) == (60_000, False, None)


def test_the_first_public_assistant_is_the_default(tmp_path: Path) -> None:
    assistants = Assistants.load(written(tmp_path, EVE, ANN, ANN.replace("Ann", "Ben")))
    assert assistants.default.name == "Ann"
    assert [assistant.name for assistant in assistants] == ["Eve", "Ann", "Ben"]


def test_an_assistant_is_found_by_its_exact_name(tmp_path: Path) -> None:
    assistants = Assistants.load(written(tmp_path, ANN))
    assert assistants.get("Ann") is assistants.default
    assert assistants.get("ann") is assistants.get("") is assistants.get("Eve") is None


@pytest.mark.parametrize(
    ("tables", "complaint"),
    [
        ([], "expected [[assistant]] tables"),
        ([EVE], "At least one assistant must be public"),
        ([ANN, ANN], "same name"),
        ([ANN, EVE.replace("Eve", "Ann")], "same name"),
        ([ANN + "\ntemperature = 0.5"], "assistant Ann: temperature"),
        ([ANN + "\nModel = 'x'"], "assistant Ann: Model"),
        ([ANN.replace('name = "Ann"', "")], "assistant ?: name"),
        ([ANN.replace('model = "gpt-6-luna"', "")], "assistant Ann: model"),
        ([ANN.replace('instructions = "Be Ann."', "")], "assistant Ann: instructions"),
        ([ANN.replace("gpt-6-luna", "  ")], "assistant Ann: model"),
        ([ANN.replace("Be Ann.", "")], "assistant Ann: instructions"),
        ([ANN.replace('"Ann"', '""')], "name"),
        ([ANN.replace('"Ann"', '"Ann of Cleves"')], "name"),
        ([ANN.replace('"Ann"', '"Ann\\n"')], "name"),
        ([ANN.replace('"Ann"', f'"{"A" * 41}"')], "name"),
        ([ANN.replace('"Ann"', "7")], "name"),
        ([ANN + "\nprivate = true"], "password_from"),
        ([ANN + "\npassword_from = 'X'"], "password_from"),
        ([ANN, EVE.replace('"EVES_PASSWORD"', '""')], "password_from"),
        ([ANN + '\nreasoning_effort = "enormous"'], "reasoning_effort"),
        ([ANN + "\nmax_output_tokens = 15"], "max_output_tokens"),
        ([ANN + '\nmax_output_tokens = "many"'], "max_output_tokens"),
        ([ANN + "\ntoken_budget = 999"], "token_budget"),
        ([ANN + "\ncontext_window = 999"], "context_window"),
        ([ANN + '\ntools = [{ type = "code_interpreter" }]'], "tools.0.type"),
        ([ANN + "\ntools = [{}]"], "tools.0.type"),
        ([ANN + '\ntools = ["web_search"]'], "tools.0"),
        ([ANN + '\ntools = "web_search"'], "tools"),
    ],
)
def test_what_is_not_understood_is_refused_and_named(tmp_path: Path, tables: list[str], complaint: str) -> None:
    with pytest.raises(AssistantsFileError) as refused:
        Assistants.load(written(tmp_path, *tables))
    assert complaint in str(refused.value)


@pytest.mark.parametrize(
    "content",
    [
        b"assistant = 1",
        b"[assistant]\nname = 'Ann'",
        b"[[assistants]]\nname = 'Ann'",
        f"[[assistant]]\n{ANN}\n\n[defaults]\nmodel = 'x'".encode(),
        b"not toml",
        b"name = '\xff'",
        b"",
    ],
)
def test_a_file_of_another_kind_is_refused_and_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "assistants.toml"
    file.write_bytes(content)
    with pytest.raises(AssistantsFileError, match=r"assistants\.toml"):
        Assistants.load(file)


def test_a_file_that_is_not_there_is_refused_and_named(tmp_path: Path) -> None:
    with pytest.raises(AssistantsFileError, match=r"nowhere\.toml"):
        Assistants.load(tmp_path / "nowhere.toml")


async def test_all_that_is_declared_reaches_the_model_and_hosted_tools_as_they_are_written(
    fake: FakeOpenAI, sqlite_url: str, tmp_path: Path
) -> None:
    file = written(
        tmp_path,
        f'{ANN}\nreasoning_effort = "high"\nmax_output_tokens = 1234\n'
        'tools = [{ type = "web_search", search_context_size = "low", filters = { allowed_domains = ["a.example"] } }, '
        '{ type = "file_search", vector_store_ids = ["vs_1"], max_num_results = 3 }]',
    )
    async with opened(fake, sqlite_url, assistants_file=file) as chat:
        turn = await chat.accept(Question("web", "web:public:1", "Q1-a"))
        assert turn is not None
        await chat.answering(turn).whole()
    (asked,) = (request.json for request in fake.requests if request.template == "/responses")
    assert (asked["model"], asked["instructions"], asked["max_output_tokens"]) == ("gpt-6-luna", "Be Ann.", 1234)
    assert asked["reasoning"] == {"effort": "high"}
    assert asked["tools"] == [
        {"type": "web_search", "search_context_size": "low", "filters": {"allowed_domains": ["a.example"]}},
        {"type": "file_search", "vector_store_ids": ["vs_1"], "max_num_results": 3},
    ]


async def _who_answers(database_url: str, file: Path, text: str) -> tuple[str, str]:
    async with opened(None, database_url, assistants_file=file) as chat:
        turn = await chat.accept(Question("web", "web:public:1", text))
    assert turn is not None
    return turn.assistant, turn.question


@pytest.mark.parametrize("in_a_file", [False, True])
async def test_the_password_of_a_private_assistant_is_in_the_variable_that_it_names(
    monkeypatch: pytest.MonkeyPatch, sqlite_url: str, tmp_path: Path, *, in_a_file: bool
) -> None:
    if in_a_file:
        written_env(tmp_path, "EVES_PASSWORD=eve-is-not-here")
    else:
        monkeypatch.setenv("EVES_PASSWORD", "eve-is-not-here")
    file = written(tmp_path, ANN, EVE)
    assert await _who_answers(sqlite_url, file, "eve-is-not-here hello") == ("Eve", "hello")
    assert await _who_answers(sqlite_url, file, "973808 hello") == ("Ann", "973808 hello")


async def test_a_private_assistant_without_a_password_is_never_unlocked(sqlite_url: str, tmp_path: Path) -> None:
    assert await _who_answers(sqlite_url, written(tmp_path, ANN, EVE), "hello") == ("Ann", "hello")


async def test_a_password_opens_the_first_assistant_of_its_circle(
    monkeypatch: pytest.MonkeyPatch, sqlite_url: str, tmp_path: Path
) -> None:
    monkeypatch.setenv("EVES_PASSWORD", "eve-is-not-here")
    monkeypatch.setenv("SAMS_PASSWORD", "open the garden gate")
    sam = EVE.replace("Eve", "Sam").replace("EVES", "SAMS")
    file = written(tmp_path, EVE, ANN, sam, EVE.replace("Eve", "Ida"))
    assert [each.circle for each in Assistants.load(file)] == ["EVES_PASSWORD", None, "SAMS_PASSWORD", "EVES_PASSWORD"]
    assert await _who_answers(sqlite_url, file, "eve-is-not-here hello") == ("Eve", "hello")
    assert await _who_answers(sqlite_url, file, "open the garden gate: hello") == ("Sam", ": hello")


async def test_two_circles_with_the_same_password_refuse_to_start(
    monkeypatch: pytest.MonkeyPatch, sqlite_url: str, tmp_path: Path
) -> None:
    for name in ("EVES_PASSWORD", "SAMS_PASSWORD"):
        monkeypatch.setenv(name, "eve-is-not-here")
    file = written(tmp_path, ANN, EVE, EVE.replace("Eve", "Sam").replace("EVES", "SAMS"))
    with pytest.raises(StartError, match="EVES_PASSWORD and SAMS_PASSWORD") as refused:
        await _who_answers(sqlite_url, file, "hello")
    assert "eve-is-not-here" not in str(refused.value)


@pytest.mark.parametrize("secret", ["hunter2", "letmein"])
async def test_a_weak_password_refuses_to_start_and_is_not_quoted(
    monkeypatch: pytest.MonkeyPatch, sqlite_url: str, tmp_path: Path, secret: str
) -> None:
    monkeypatch.setenv("EVES_PASSWORD", secret)
    with pytest.raises(StartError, match="EVES_PASSWORD") as refused:
        await _who_answers(sqlite_url, written(tmp_path, ANN, EVE), "hello")
    assert secret not in str(refused.value)


def written_env(folder: Path, line: Any) -> None:
    (folder / ".env").write_text(f"{line}\n", encoding="utf-8")
