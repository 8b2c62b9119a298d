"""The plainest Slack app one could write: Bolt, AsyncOpenAI, nothing stored. The baseline for acknowledging events."""

import os
from typing import Any

from fastapi import FastAPI, Request, Response
from openai import AsyncOpenAI
from slack_bolt.adapter.fastapi.async_handler import AsyncSlackRequestHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

bolt = AsyncApp(
    client=AsyncWebClient(token=os.environ["SLACK_BOT_TOKEN"], base_url=os.environ["SLACK_API_URL"]),
    signing_secret=os.environ["SLACK_SIGNING_SECRET"],
)
handler = AsyncSlackRequestHandler(bolt)
model = AsyncOpenAI()
app = FastAPI()


@bolt.event("app_mention")
async def on_mention(event: dict[str, Any], client: AsyncWebClient) -> None:
    response = await model.responses.create(model="gpt-6-luna", input=event["text"])
    await client.chat_postMessage(channel=event["channel"], thread_ts=event["ts"], text=response.output_text)


@app.post("/slack/events")
async def events(request: Request) -> Response:
    return await handler.handle(request)
