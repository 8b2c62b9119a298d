"""What the commands are called, and say of themselves, in the languages that Discord shows them in.

Discord shows each person the name in their own language, and finds a command by its English name as well: so that is
what our sentences call it. Bots are told the English name, whatever was typed.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import discord
from discord import app_commands
from discord.http import Route

from core import Json, as_it_was_stored

_LOCALIZED = ("name_localizations", "description_localizations")
_PARTS = ("options", "choices")


class CommandNames(app_commands.Translator):
    """Names and descriptions of commands and of what they take, by what they are in English."""

    async def translate(
        self, string: app_commands.locale_str, locale: discord.Locale, context: app_commands.TranslationContextTypes
    ) -> str | None:
        return _translated(string.message, locale.value)


@cache  # discord.py asks a thousand times to compare our commands, and as often to send them; all texts are ours
def _translated(text: str, locale: str) -> str | None:
    translated = as_it_was_stored(text).in_language(locale)
    return None if translated == text else translated


async def registered_commands(client: discord.Client, application: int) -> list[Any]:
    """The commands that Discord has, in all languages, which it tells only if it is asked to."""
    route = Route("GET", "/applications/{application_id}/commands", application_id=application)
    commands: list[Any] = await client.http.request(route, params={"with_localizations": "true"})
    return commands


def localizations_in(command: Json) -> Json:
    """What a command, and each thing that it takes, is called and says of itself in other languages."""
    own = {name: command.get(name) or {} for name in _LOCALIZED}
    return {**own, **{name: [localizations_in(part) for part in command.get(name) or ()] for name in _PARTS}}
