"""How soon Slack's events are acknowledged when many come at once, against a plain Bolt app in the same run.

Slack counts an event as lost after three seconds. Bob has stored it by then; the plain app has stored nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import statistics
import time
from collections.abc import Iterator

from tests.bench.throughput import BOB, COMMANDS, SHORT_ANSWER, UVICORN, app, upstream
from tests.fakes.slack_api import FakeSlack

PLAIN_BOLT = "Bolt"
EVENTS_AT_ONCE = 200
ROUNDS = 5
LIMIT_MS = 3000.0

COMMANDS[PLAIN_BOLT] = lambda port: [*UVICORN, str(port), "tests.bench.plain_bolt:app"]


def main() -> None:
    latencies = {name: list(measure(name)) for name in (PLAIN_BOLT, BOB)}
    print(f"\nack of {EVENTS_AT_ONCE} Slack events at once, {ROUNDS} rounds (SQLite)")
    print(f"{'':40s}{'Bolt':>10s}{'Bob':>10s}{'Bob/Bolt':>12s}{'Bob/limit':>12s}")
    for label, part in (("p50 ms", 0.5), ("p99 ms", 0.99), ("worst ms", 1.0)):
        plain, ours = (statistics.median(_part(each, part) for each in latencies[name]) for name in latencies)
        print(f"{label:40s}{plain:10.1f}{ours:10.1f}{ours / plain:12.2f}{ours / LIMIT_MS:12.3f}")


def measure(name: str) -> Iterator[list[float]]:
    with FakeSlack() as slack, upstream(SHORT_ANSWER) as model:
        slack.events = set()  # it is we who deliver
        os.environ |= {
            "SLACK_BOT_TOKEN": slack.bot_token,
            "SLACK_SIGNING_SECRET": slack.signing_secret,
            "SLACK_API_URL": slack.url,
            "SLACK_JOIN_SECONDS": "0",
        }
        with app(COMMANDS[name], model) as (_, port):
            for number in range(ROUNDS + 1):
                seen = asyncio.run(_deliver(slack, port, number))
                if number:  # the first round warms up
                    yield seen


async def _deliver(slack: FakeSlack, port: int, number: int) -> list[float]:
    bodies = [_event(slack, number, n) for n in range(EVENTS_AT_ONCE)]
    return await asyncio.gather(*(_post(slack, port, body) for body in bodies))


def _event(slack: FakeSlack, number: int, n: int) -> bytes:
    text = f"<@{slack.bot_user}> question {n}"
    ts = slack.says("U1", "C1", text)
    mention = {"type": "app_mention", "user": "U1", "text": text, "ts": ts, "channel": "C1"}
    envelope = {
        "type": "event_callback", "team_id": slack.team, "api_app_id": slack.app_id, "event": mention,
        "event_id": f"Ev{number}x{n}", "event_time": int(time.time()),
        "authorizations": [{"team_id": slack.team, "user_id": slack.bot_user, "is_bot": True}],
    }  # fmt: skip
    return json.dumps(envelope).encode()


async def _post(slack: FakeSlack, port: int, body: bytes) -> float:
    now = str(int(time.time()))
    signed = hmac.new(slack.signing_secret.encode(), f"v0:{now}:".encode() + body, hashlib.sha256).hexdigest()
    head = (
        f"POST /slack/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
        f"X-Slack-Request-Timestamp: {now}\r\nX-Slack-Signature: v0={signed}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    started = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head.encode() + body)
    status = await reader.readline()
    if b" 200 " not in status:
        raise RuntimeError(f"the app answered {status!r}")
    writer.close()
    return (time.perf_counter() - started) * 1000


def _part(latencies: list[float], part: float) -> float:
    return sorted(latencies)[int(part * (len(latencies) - 1))]


if __name__ == "__main__":
    main()
