"""Conversations kept at OpenAI: what questions wait for is sent without its SDK, which costs several times as much."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import openai
from openai import AsyncOpenAI
from openai.pagination import AsyncConversationCursorPage

from core.assistants import Assistant, Readable
from core.language_model import Enclosure, ModelTrouble, Said, TroubleKind
from core.openai_model.bodies import DataURL
from core.openai_model.errors import trouble_of

T = TypeVar("T")

Make = Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]  # posts to a path; raises ModelTrouble

ITEMS_PER_PAGE = 5  # an item may hold a whole picture, which is listed with it


class OpenAIConversations:
    """Conversations kept at OpenAI. See Conversations."""

    def __init__(self, client: AsyncOpenAI, make: Make, reads: Callable[[Assistant], Collection[Readable]]) -> None:
        self._client = client
        self._make = make
        self._reads = reads

    async def open(self, asker: str) -> str:
        """Make an empty conversation."""
        try:
            conversation_id = (await self._make("/conversations", {"metadata": {"session": asker}})).get("id")
            if not isinstance(conversation_id, str):
                raise ModelTrouble(TroubleKind.BROKE_OFF, "the reply is something else")
        except ModelTrouble as trouble:
            trouble.kind = trouble.kind.unwritten  # an empty conversation that nobody knows harms nobody
            raise
        return conversation_id

    async def tell(self, conversation_id: str, messages: Sequence[Said], assistant: Assistant) -> None:
        """Add messages at the end."""
        items = items_of(messages, self._reads(assistant))
        await self._make(f"/conversations/{quote(conversation_id, safe='')}/items", {"items": items})

    async def erase(self, conversation_id: str, response_ids: Sequence[str]) -> None:
        """Erase items first, since deleting a conversation leaves them; then the responses; then the conversation."""
        of = self._client.conversations
        while item_ids := await self._item_ids(conversation_id):
            for item_id in item_ids:
                await unless_gone(reply_of(of.items.delete(item_id, conversation_id=conversation_id), object))
        for response_id in response_ids:
            await unless_gone(reply_of(self._client.responses.delete(response_id), object))
        await unless_gone(reply_of(of.delete(conversation_id), object))

    async def _item_ids(self, conversation_id: str) -> list[str]:
        listing = self._client.conversations.items.list(conversation_id, limit=ITEMS_PER_PAGE)
        page = await unless_gone(reply_of(listing, AsyncConversationCursorPage))
        return [item.id for item in page.data if item.id] if page is not None else []


async def reply_of(call: Awaitable[Any], kind: type[T]) -> T:
    """What the SDK made of a reply. Raises ModelTrouble, also where it took a web page for what was asked."""
    try:
        reply = await call
    except openai.OpenAIError as error:
        raise trouble_of(error) from error
    except (AttributeError, TypeError, ValueError) as error:
        raise ModelTrouble(TroubleKind.BROKE_OFF, "the reply cannot be read") from error
    if isinstance(reply, str) or not isinstance(reply, kind):
        raise ModelTrouble(TroubleKind.BROKE_OFF, "the reply is something else")
    return reply


async def unless_gone(call: Awaitable[T]) -> T | None:
    """The reply, or None where there is nothing any more."""
    try:
        return await call
    except ModelTrouble as trouble:
        if isinstance(trouble.__cause__, openai.NotFoundError):
            return None
        raise


def items_of(messages: Sequence[Said], reads: Collection[Readable]) -> Any:
    """Messages as items of a conversation, for a model that reads files of these kinds."""
    return [{"type": "message", "role": said.role, "content": content_of(said, reads)} for said in messages]


def content_of(said: Said, reads: Collection[Readable]) -> str | list[dict[str, Any]]:
    """What a message says: its text, with files in parts."""
    said = said.to_who_reads(reads)
    if not said.enclosures:
        return said.text
    return [{"type": "input_text", "text": said.text}, *map(part_of, said.enclosures)]


def part_of(file: Enclosure) -> dict[str, Any]:
    """A file as a part of a message."""
    if file.kind == "images":  # OpenAI's description wants `detail`; without it nothing is scaled down there
        return {"type": "input_image", "image_url": DataURL(file), "detail": "high"}
    return {"type": "input_file", "filename": file.name, "file_data": DataURL(file)}
