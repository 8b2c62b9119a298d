"""`/metrics`: what Prometheus is told, and who is."""

from __future__ import annotations

import pytest

from tests.fakes.openai_api import FakeOpenAI
from tests.web.conftest import served

TEXT, OPENMETRICS = "text/plain", "application/openmetrics-text"


@pytest.mark.parametrize(
    ("accept", "kind", "end"),
    [("*/*", TEXT, "\n"), (f"{OPENMETRICS};version=1.0.0,{TEXT};q=0.5", OPENMETRICS, "# EOF\n")],
)
async def test_it_is_told_in_the_form_that_prometheus_likes_best(
    fake: FakeOpenAI, sqlite_url: str, accept: str, kind: str, end: str
) -> None:
    async with served(fake, sqlite_url) as site:
        await site.answer("Q1-a")
        async with site.http.get("/metrics", headers={"Accept": accept}) as response:
            assert (response.status, response.content_type) == (200, kind)
            text = await response.text()
    assert 'bob_turns_total{outcome="answered",surface="web"} 1.0' in text
    assert text.endswith(end)


@pytest.mark.parametrize(
    ("headers", "proxies", "status"),
    [
        ({}, (), 200),
        ({"X-Forwarded-For": "203.0.113.7"}, (), 401),
        ({"X-Forwarded-For": "203.0.113.7"}, ("127.0.0.1",), 401),
        ({"Forwarded": "for=203.0.113.7"}, (), 401),
        ({"Via": "1.1 proxy"}, (), 401),
    ],
    ids=["this machine", "an unknown proxy", "a known proxy", "another header", "a cache"],
)
async def test_without_keys_only_this_machine_itself_is_told(
    sqlite_url: str, headers: dict[str, str], proxies: tuple[str, ...], status: int
) -> None:
    async with (
        served(None, sqlite_url, trusted_proxies=proxies) as site,
        site.http.get("/metrics", headers=headers) as response,
    ):
        assert response.status == status
