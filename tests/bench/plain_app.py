"""The plainest app one could write: FastAPI, AsyncOpenAI and a dict. Nothing is stored. The baseline of our figures."""

from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI
from pydantic import BaseModel

app = FastAPI()
client = AsyncOpenAI()
conversations: dict[str, str] = {}


class Ask(BaseModel):
    session_id: str
    user_input: str


class Answer(BaseModel):
    session_id: str
    response: str


async def conversation_of(session_id: str) -> str:
    if session_id not in conversations:
        conversations[session_id] = (await client.conversations.create()).id
    return conversations[session_id]


@app.post("/ask", response_model=Answer)
async def ask(body: Ask, request: Request) -> Any:
    conversation = await conversation_of(body.session_id)
    if "text/event-stream" in request.headers.get("accept", ""):
        return StreamingResponse(stream(body, conversation), media_type="text/event-stream")
    response = await client.responses.create(model="gpt-6-luna", input=body.user_input, conversation=conversation)
    return Answer(session_id=body.session_id, response=response.output_text)


async def stream(body: Ask, conversation: str) -> AsyncIterator[str]:
    async for event in await client.responses.create(
        model="gpt-6-luna", input=body.user_input, conversation=conversation, stream=True
    ):
        if event.type == "response.output_text.delta":
            yield f"event: delta\ndata: {event.delta}\n\n"
    yield "event: done\ndata: {}\n\n"
