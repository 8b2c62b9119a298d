"""Bob on Discord."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence

from bots.discord.links import message_at
from bots.discord.settings import DiscordSettings, what_is_read
from bots.discord.token import wrong_token
from bots.shared.surface import SetupQuestion, Surface
from core import Chat, Check, Format


def _banner(settings: DiscordSettings) -> str:
    return f"Discord ({what_is_read(may_read_all=settings.discord_message_content)})"


def _checks(settings: DiscordSettings) -> Sequence[Check]:
    from bots.discord.doctor import discord_checks

    return discord_checks(settings)


@contextlib.asynccontextmanager
async def _open(settings: DiscordSettings, chat: Chat, *, drain_seconds: float, alone: bool) -> AsyncIterator[None]:
    from bots.discord.bot import connected_discord

    async with connected_discord(settings, chat, drain_seconds=drain_seconds, alone=alone):
        yield


def _export_formats() -> Sequence[Format]:
    from bots.discord.export import DiscordExport

    return (DiscordExport(),)


DISCORD = Surface(
    name="discord",
    settings=DiscordSettings,
    token="discord_token",
    people="friends",
    alone_needs="Discord's bot needs DISCORD_TOKEN.",
    shows=(
        "Your answer is shown on Discord: Markdown with headings of three sizes, lists, quotes, links, code in fences "
        "of three backticks, and ||hidden words||. No LaTeX, no HTML, no images; a table is shown as plain text in a "
        "fence, so only small ones are good to read. An @ before the name of somebody who takes part in the "
        "conversation notifies them, so write it only where that is wanted. Who asks for something `as a file` gets "
        "each table and each code block of your answer as one, so put it there, with the language at the fence."
    ),
    banner=_banner,
    path=lambda _: None,
    checks=_checks,
    open=_open,
    message_at=message_at,
    if_unheard=(
        "Bob may view the channel (View Channel), and the message mentions him by his name, not by a role.",
        "Without DISCORD_MESSAGE_CONTENT=true and the Message Content Intent Bob is shown only what mentions him, "
        "replies to him with the mention on, direct messages and commands.",
        "What another app says is heard only if it is listed in DISCORD_APPS.",
        "Bob ran then, or began within DISCORD_CATCH_UP_SECONDS: the log has a line for each question that is "
        "accepted.",
    ),
    questions=(SetupQuestion("discord_token", "The token, from Bot, Reset Token on the app's page", wrong_token),),
    export_formats=_export_formats,
)
