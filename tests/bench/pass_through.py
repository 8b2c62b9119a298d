"""A pass-through written by hand: each question goes upstream, what comes back is handed on. Nothing is stored."""

import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]
URL = f"{os.environ.get('OPENAI_BASE_URL')}/responses"
connections: list[aiohttp.ClientSession] = []


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    body = b""
    more = True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    said = json.loads(body)
    stream = dict(scope["headers"]).get(b"accept") == b"text/event-stream"
    asked = {"model": "gpt-6-luna", "input": said["user_input"], "stream": stream}
    async with connections[0].post(URL, json=asked) as response:
        kind = b"text/event-stream" if stream else b"application/json"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        if stream:
            async for chunk in response.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body"})
        else:
            text = (await response.json())["output"][0]["content"][0]["text"]
            answer = json.dumps({"session_id": said["session_id"], "response": text}).encode()
            await send({"type": "http.response.body", "body": answer})


async def live(receive: Receive, send: Send) -> None:
    await receive()
    connections.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await connections[0].close()
    await send({"type": "lifespan.shutdown.complete"})
