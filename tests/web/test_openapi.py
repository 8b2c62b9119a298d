"""`/openapi.json`: true of what is answered, and with examples that could be sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.fakes.openai_api import FakeOpenAI, Status
from tests.web.conftest import Site, served

OF_A_SESSION = {"401", "403", "404", "422", "429", "503"}
STATUSES = {
    ("post", "/ask"): {"200", "401", "403", "404", "408", "409", "413", "422", "429", "500", "503"},
    ("post", "/turns/{turn_id}/stop"): {"200", *OF_A_SESSION},
    ("get", "/turns/{turn_id}/events"): {"200", *OF_A_SESSION},
    ("put", "/turns/{turn_id}/feedback"): {"204", "408", "413", *OF_A_SESSION},
    ("get", "/feedback"): {"200", *OF_A_SESSION},
    ("post", "/sessions"): {"201", "401", "403", "408", "413", "422", "429", "503"},
    ("get", "/sessions"): {"200", *OF_A_SESSION},
    ("get", "/sessions/{session_id}"): {"200", *OF_A_SESSION},
    ("get", "/sessions/{session_id}/turns"): {"200", *OF_A_SESSION},
    ("get", "/sessions/{session_id}/files/{file_id}"): {"200", *OF_A_SESSION},
    ("get", "/limits"): {"200"},
    ("get", "/metrics"): {"200", "401", "403", "429", "503"},
    ("get", "/assistants"): {"200"},
    ("delete", "/sessions/{session_id}"): {"204", *OF_A_SESSION},
    ("post", "/sessions/{session_id}/reset"): {"204", *OF_A_SESSION},
    ("put", "/sessions/{session_id}/assistant"): {"200", "408", "413", *OF_A_SESSION},
    ("post", "/sessions/{session_id}/claim"): {"200", "409", *OF_A_SESSION},
    ("delete", "/people/{sub}"): {"200", "401", "403", "422", "429", "503"},
    ("get", "/readyz"): {"200", "503"},
    ("get", "/healthz"): {"200"},
    ("get", "/"): {"200"},
}

Json = dict[str, Any]


async def description(site: Site) -> Json:
    status, described = await site.get("/openapi.json")
    assert status == 200
    result: Json = described
    return result


def operations(described: Json) -> Iterator[tuple[tuple[str, str], Json]]:
    for path, item in described["paths"].items():
        for method, operation in item.items():
            yield (method, path), operation


def parts(node: Any) -> Iterator[Json]:
    """Every object within."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from parts(value)
    elif isinstance(node, list):
        for value in node:
            yield from parts(value)


def validator(described: Json, schema: Json) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": described["components"]})


async def test_it_describes_every_route_and_every_status(sqlite_url: str) -> None:
    async with served(None, sqlite_url) as site:
        described = await description(site)
    documented = {which: set(operation["responses"]) for which, operation in operations(described)}
    assert documented == STATUSES


async def test_every_operation_and_every_status_is_explained(sqlite_url: str) -> None:
    async with served(None, sqlite_url) as site:
        described = await description(site)
    assert described["openapi"].startswith("3.1")
    for which, operation in operations(described):
        assert operation["summary"], which
        assert operation["description"], which
        for status, response in operation["responses"].items():
            assert response["description"], (which, status)


async def test_every_schema_is_one_and_every_reference_leads_somewhere(sqlite_url: str) -> None:
    async with served(None, sqlite_url) as site:
        described = await description(site)
    schemas = described["components"]["schemas"]
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    references = {part["$ref"] for part in parts(described) if isinstance(part.get("$ref"), str)}
    assert references <= {f"#/components/schemas/{name}" for name in schemas}


async def test_the_example_can_be_sent_and_is_answered_as_described(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with served(fake, sqlite_url) as site:
        described = await description(site)
        operation = described["paths"]["/ask"]["post"]
        asked = described["components"]["schemas"]["AskBody"]["properties"]
        example = {name: schema["examples"][0] for name, schema in asked.items() if "examples" in schema}
        assert example == {
            "session_id": "12345", "user_input": "Hello, how are you?", "time_zone": "Europe/Berlin",
        }  # fmt: skip
        validator(described, operation["requestBody"]["content"]["application/json"]["schema"]).validate(example)
        async with site.post(example) as response:
            answer = await response.json()
        validator(described, operation["responses"]["200"]["content"]["application/json"]["schema"]).validate(answer)
        assert "event: done" in operation["responses"]["200"]["content"]["text/event-stream"]["example"]


@pytest.mark.one_in(3)
@pytest.mark.parametrize(
    "question", ["", " \t\n", "\0", " \0 ", "a\0b", "\0a", "a\0", "a", " a b\n", "\x01", "é", "🐈"]
)
async def test_a_question_that_fits_the_description_is_taken_and_any_other_is_not(
    fake: FakeOpenAI, sqlite_url: str, question: str
) -> None:
    async with served(fake, sqlite_url) as site:
        body = {"session_id": "1", "user_input": question}
        schema = (await description(site))["components"]["schemas"]["AskBody"]
        async with site.post(body) as response:
            assert (response.status == 200) == validator({"components": {}}, schema).is_valid(body)


@pytest.mark.parametrize("question", [None, "", " \t\n", "\0", "a\0b", "a"])
@pytest.mark.parametrize("files", [0, 1])
async def test_a_question_with_files_that_fits_the_description_is_taken_and_any_other_is_not(
    fake: FakeOpenAI, sqlite_url: str, question: str | None, files: int
) -> None:
    async with served(fake, sqlite_url) as site:
        body: Json = {"session_id": "1", "files": [{"name": "a.txt", "data": "data:;base64,SGVsbG8="}] * files}
        body |= {} if question is None else {"user_input": question}
        described = await description(site)
        schema = described["components"]["schemas"]["AskBody"]
        async with site.post(body) as response:
            assert (response.status == 200) == validator(described, schema).is_valid(body)


async def test_it_describes_the_idempotency_key(sqlite_url: str) -> None:
    async with served(None, sqlite_url) as site:
        parameters = (await description(site))["paths"]["/ask"]["post"]["parameters"]
    (parameter,) = (each for each in parameters if each["name"] == "idempotency-key")
    assert (parameter["in"], parameter["name"].lower(), parameter["required"]) == ("header", "idempotency-key", False)


@pytest.mark.parametrize(
    ("path", "template", "body", "expected"),
    [
        ("/ask", "/ask", {}, 422),
        ("/ask", "/ask", {"session_id": "1", "user_input": " "}, 422),
        ("/ask", "/ask", {"session_id": "1", "user_input": "x" * 1_200}, 413),
        ("/ask", "/ask", {"session_id": "1", "user_input": "Q1-a"}, 500),
        ("/turns/1/stop", "/turns/{turn_id}/stop", None, 422),
        (f"/turns/{'0' * 32}/stop", "/turns/{turn_id}/stop", None, 404),
    ],
)
async def test_errors_are_what_it_says_they_are(
    fake: FakeOpenAI, sqlite_url: str, path: str, template: str, body: Json | None, expected: int
) -> None:
    if expected == 500:
        fake.fail("POST", "/responses", Status(400, "invalid_prompt"))
    async with served(fake, sqlite_url, max_body_bytes=1_000, max_question_characters=800) as site:
        described = await description(site)
        async with site.http.post(path, json=body) as response:
            assert response.status == expected
            problem = await response.json(content_type=None) if expected != 413 else {"detail": "x"}
    schema = described["paths"][template]["post"]["responses"][str(expected)]["content"]["application/json"]["schema"]
    validator(described, schema).validate(problem)


async def test_the_pages_of_the_description_are_served(sqlite_url: str) -> None:
    async with served(None, sqlite_url) as site:
        for path in ("/docs", "/docs/start.js", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css"):
            async with site.http.get(path) as response:
                assert response.status == 200
                assert "script-src 'self';" in response.headers["Content-Security-Policy"]
        async with site.http.get("/docs/start.py") as response:
            assert response.status == 404


async def test_whoever_does_something_else_with_it_is_told_what_can_be_done(sqlite_url: str) -> None:
    async with served(None, sqlite_url) as site, site.http.post("/openapi.json") as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")


async def test_it_names_the_assistants_that_may_be_chosen_and_no_private_one(sqlite_url: str) -> None:
    async with served(None, sqlite_url) as site:
        described = await description(site)
    assert described["components"]["schemas"]["Choice"]["properties"]["assistant"]["enum"] == ["Bob"]
