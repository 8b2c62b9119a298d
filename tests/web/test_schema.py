"""What is answered to requests that are made up from the API's description; `make check-api` makes up many more."""

from __future__ import annotations

import asyncio

import pytest

from tests.check_api.checking import check, prepare
from tests.fakes.openai_api import FakeOpenAI
from tests.web.conftest import served

EXAMPLES = 2
KEY = "a-secret-of-the-test"


@pytest.mark.one_in(2)
@pytest.mark.parametrize("key", ["", KEY], ids=["open", "with a key"])
async def test_whatever_is_sent_the_response_is_as_described_and_never_a_500(sqlite_url: str, key: str) -> None:
    with FakeOpenAI(check=False) as fake:
        async with served(fake, sqlite_url, api_keys=f"tester:{key}" if key else "") as site:
            known = await prepare(site.url, key)
            report = await asyncio.to_thread(check, site.url, known, key=key, examples=EXAMPLES, seed=None)
    assert not report.failures, report.text
    assert report.cases > 100
    statuses = {status for _, status in report.responses}
    assert statuses >= {200, 201, 204, 404, 405, 422} | ({401} if key else set())
