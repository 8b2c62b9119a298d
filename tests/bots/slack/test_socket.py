"""Socket Mode: whatever happens to a connection, another one is made."""

from __future__ import annotations

import itertools

import pytest

from bots.slack import socket as slack_socket
from bots.slack.socket import Socket
from tests.bots.conftest import Start, answered
from tests.core.fixtures.metrics import scraped
from tests.fakes import slack_delivery
from tests.fakes.slack_api import FakeSlack


def addresses_asked_for(slack: FakeSlack) -> int:
    return sum(call.method == "apps.connections.open" for call in slack.calls)


async def test_a_new_address_is_asked_for_where_one_fails(
    slack: FakeSlack, bob: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(slack_socket, "SHORTEST_PAUSE_SECONDS", 0.02)
    issue = Socket.issue_new_wss_url
    bad_ones = iter([False, True, True])

    async def issue_bad_ones_at_times(socket: Socket) -> str:
        address = await issue(socket)
        return address.replace("ticket=", "ticket=no-") if next(bad_ones, False) else address

    monkeypatch.setattr(Socket, "issue_new_wss_url", issue_bad_ones_at_times)
    async with bob():
        slack.refresh_sockets()
        await slack.until(lambda slack: addresses_asked_for(slack) == 4 and slack.sockets == 1)
        await answered(slack, "D1", slack.says("U1", "D1", "hello"))
    assert next(bad_ones, None) is None
    assert "ticket" not in caplog.text


async def test_a_connection_that_is_cut_is_made_again(slack: FakeSlack, bob: Start) -> None:
    async with bob() as running:
        await answered(slack, "D1", slack.says("U1", "D1", "hello"))
        slack.drop_sockets()
        await slack.until(lambda slack: addresses_asked_for(slack) == 2 and slack.sockets == 1)
        await answered(slack, "D1", slack.says("U1", "D1", "again"))
        assert (await scraped(running.chat))["bob_surface_connections_total", "slack"] == 2


async def test_where_slack_closes_each_new_connection_the_pauses_grow(
    slack: FakeSlack, bob: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(slack_socket, "SHORTEST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(slack_delivery, "SOCKETS_MOST", 0)  # others have them all
    async with bob():
        await slack.until(lambda slack: addresses_asked_for(slack) == 6)
        at = [call.at for call in slack.calls if call.method == "apps.connections.open"][1:]  # the first is the check
        pauses = [later - earlier for earlier, later in itertools.pairwise(at)]
        assert all(pause >= 0.05 * 2**n for n, pause in enumerate(pauses))
        monkeypatch.setattr(slack_delivery, "SOCKETS_MOST", 10)
        await slack.until(lambda slack: slack.sockets == 1)
        await answered(slack, "D1", slack.says("U1", "D1", "hello"))
    assert "ten of an app" in caplog.text
