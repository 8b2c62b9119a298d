"""How the app answers interactions on the fake Discord: the callback, and messages by the token."""

import time

from tests.fakes import discord_content as contents
from tests.fakes.discord_content import Content
from tests.fakes.discord_errors import DiscordError, Json, invalid_form, too_long
from tests.fakes.discord_interactions import (
    AUTOCOMPLETE,
    CHOICES,
    COMMAND,
    DEFERRED,
    DEFERRED_UPDATE,
    MESSAGE,
    MODAL,
    MODAL_SUBMIT,
    PONG,
    UPDATE,
    Interaction,
    Modal,
)
from tests.fakes.discord_messages import CONTEXT_MENU, REPLY, SLASH, Message
from tests.fakes.discord_rest import Handler, Request
from tests.fakes.discord_state import State, reference_to
from tests.fakes.discord_world import APPLICATION

FOLLOWUPS_OF_A_PERSONAL_APP = 5
WITH_A_MESSAGE = (MESSAGE, DEFERRED)
ON_A_MESSAGE = (DEFERRED_UPDATE, UPDATE)


def callback(state: State, request: Request) -> Json | None:
    """The first answer to an interaction."""
    interaction = state.interactions.all.get(request.id("interaction"))
    if interaction is None or interaction.token != request.ids["token"]:
        raise DiscordError(10062)
    if interaction.acknowledged:
        raise DiscordError(40060)
    if interaction.failure or time.monotonic() > interaction.began_at + state.interactions.seconds:
        raise DiscordError(10062)
    kind, data = int(request.json.get("type", 0)), request.json.get("data") or {}
    _check_kind(interaction, kind)
    _answer(state, interaction, kind, data, request)
    interaction.answer = kind
    interaction.acked_after = time.monotonic() - interaction.began_at
    return _told(state, interaction, kind) if request.query.get("with_response") in ("1", "true", "True") else None


def _check_kind(interaction: Interaction, kind: int) -> None:
    fits = {
        PONG: True,
        MESSAGE: interaction.kind != AUTOCOMPLETE,
        DEFERRED: interaction.kind != AUTOCOMPLETE,
        DEFERRED_UPDATE: interaction.message is not None,
        UPDATE: interaction.message is not None,
        CHOICES: interaction.kind == AUTOCOMPLETE,
        MODAL: interaction.kind not in (AUTOCOMPLETE, MODAL_SUBMIT),
    }
    if not fits.get(kind, False):
        text = f"Value must not be {kind} in answer to an interaction of type {interaction.kind}."
        raise invalid_form("type", "BASE_TYPE_CHOICES", text)


def _answer(state: State, interaction: Interaction, kind: int, data: Json, request: Request) -> None:
    if kind == MODAL:
        _check_modal(data)
        interaction.modal = Modal(interaction, data)
    elif kind == CHOICES:
        if len(data.get("choices") or []) > 25:
            raise too_long("data.choices", 25)
        interaction.choices = data.get("choices") or []
    elif kind == UPDATE:
        assert interaction.message is not None
        interaction.original = state.edit(interaction.message, request.content(data), "response")
    elif kind == DEFERRED_UPDATE:
        interaction.original = interaction.message
    elif kind in WITH_A_MESSAGE:
        content = Content(flags=data.get("flags")) if kind == DEFERRED else request.content(data)
        if kind == DEFERRED and (data.get("flags") or 0) & ~contents.EPHEMERAL:
            state.blame("a deferred response with flags other than EPHEMERAL")
            content.flags = content.flags and content.flags & contents.EPHEMERAL
        interaction.original = _message(state, interaction, content, "response", loading=kind == DEFERRED)


def _check_modal(data: Json) -> None:
    if not 1 <= len(data.get("title") or "") <= 45:
        raise too_long("data.title", 45)
    if not 1 <= len(data.get("custom_id") or "") <= 100:
        raise too_long("data.custom_id", 100)
    if not 1 <= len(data.get("components") or []) <= 5:
        raise too_long("data.components", 5)


def _message(state: State, interaction: Interaction, content: Content, by: str, *, loading: bool = False) -> Message:
    message = Message(state.world.clock.snowflake(), interaction.channel, state.world.bot, type=_type(interaction))
    told = interaction.metadata
    if by == "followup" and interaction.original is not None:
        told["original_response_message_id"] = str(interaction.original.id)
    message.interaction = told
    if message.type == REPLY and interaction.message is not None:
        message.refers_to, message.reference = interaction.message, reference_to(interaction.message)
    ephemeral = (content.flags or 0) & contents.EPHEMERAL
    message.flags = ephemeral | (contents.LOADING if loading else 0)
    message.shown_to = interaction.user.id if ephemeral else None
    state.fill(message, content, by)
    return state.keep(message)


def _type(interaction: Interaction) -> int:
    if interaction.message is not None:
        return REPLY
    first = interaction.source or interaction
    if first.kind == COMMAND and first.payload["data"]["type"] != 1:
        return CONTEXT_MENU
    return SLASH


def _told(state: State, interaction: Interaction, kind: int) -> Json:
    told: Json = {"id": str(interaction.id), "type": interaction.kind}
    original = interaction.original
    if original is None:
        return {"interaction": told}
    told |= {"response_message_id": str(original.id), "response_message_loading": original.is_loading}
    told |= {"response_message_ephemeral": original.is_ephemeral, "channel_id": str(interaction.channel.id)}
    if interaction.channel.guild:
        told["guild_id"] = str(interaction.channel.guild.id)
    if kind not in (MESSAGE, UPDATE):
        return {"interaction": told}
    return {"interaction": told, "resource": {"type": kind, "message": original.as_json(state.url)}}


# ── by the token ─────────────────────────────────────────────────────────────


def _by_token(state: State, request: Request) -> Interaction:
    found = next((one for one in state.interactions.all.values() if one.token == request.ids["token"]), None)
    if found is None or request.id("webhook") != APPLICATION or not found.acknowledged:
        raise DiscordError(10015)
    if time.monotonic() > found.began_at + state.interactions.token_seconds:
        raise DiscordError(50027)
    return found


def followup(state: State, request: Request) -> Json | None:
    """Another message. The first one after a deferred response takes its place."""
    interaction, content = _by_token(state, request), request.content()
    if interaction.thinking and interaction.original is not None:
        content.flags = content.flags and content.flags & ~contents.EPHEMERAL
        made = state.edit(interaction.original, content, "followup")
    else:
        if interaction.for_person_only and len(interaction.followups) >= FOLLOWUPS_OF_A_PERSONAL_APP:
            raise DiscordError(40094)
        made = _message(state, interaction, content, "followup")
        interaction.followups.append(made)
    return made.as_json(state.url) if request.query.get("wait") in ("1", "true", "True") else None


def _message_of(state: State, request: Request) -> tuple[Interaction, Message]:
    interaction = _by_token(state, request)
    if request.ids.get("message", "@original") == "@original":
        found = interaction.original
    else:
        known = [*interaction.followups, *([interaction.original] if interaction.original else [])]
        found = next((one for one in known if one.id == request.id("message")), None)
    if found is None or found.deleted:
        raise DiscordError(10008)
    return interaction, found


def get(state: State, request: Request) -> Json:
    """One of the messages that answer an interaction."""
    return _message_of(state, request)[1].as_json(state.url)


def edit(state: State, request: Request) -> Json:
    """Change one of them."""
    found = _message_of(state, request)[1]
    by = "response" if found.is_loading else "edit"
    return state.edit(found, request.content(), by).as_json(state.url)


def delete(state: State, request: Request) -> None:
    """Take one of them away."""
    state.delete(_message_of(state, request)[1])


_WEBHOOK = "/webhooks/{webhook}/{token}"
ROUTES: list[tuple[str, str, int, Handler]] = [
    ("POST", "/interactions/{interaction}/{token}/callback", 200, callback),
    ("POST", _WEBHOOK, 200, followup),
    ("GET", f"{_WEBHOOK}/messages/{{message}}", 200, get),
    ("PATCH", f"{_WEBHOOK}/messages/{{message}}", 200, edit),
    ("DELETE", f"{_WEBHOOK}/messages/{{message}}", 204, delete),
]
