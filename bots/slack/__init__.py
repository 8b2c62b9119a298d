"""Bob in Slack."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from functools import partial

from bots.shared.surface import HttpHandler, Surface
from bots.slack.settings import SlackSettings
from core import Chat, Format

PATH = "/slack/events"


def _banner(settings: SlackSettings) -> str:
    return f"Slack ({'Socket Mode' if settings.transport == 'socket' else f'at {PATH}'})"


def _path(settings: SlackSettings) -> str | None:
    return PATH if settings.transport == "http" else None


async def _check(settings: SlackSettings) -> None:
    from bots.slack.bot import check_slack

    await check_slack(settings)


@contextlib.asynccontextmanager
async def _open(
    settings: SlackSettings, chat: Chat, *, drain_seconds: float, alone: bool
) -> AsyncIterator[HttpHandler | None]:
    from bots.slack.bot import answer_delivery, connected_slack, open_slack

    if settings.transport == "http":
        async with open_slack(settings, chat, drain_seconds=drain_seconds) as bot:
            yield partial(answer_delivery, bot)
    else:
        async with connected_slack(settings, chat, drain_seconds=drain_seconds):
            yield None


def _export_formats() -> Sequence[Format]:
    from bots.slack.export import SlackExport

    return (SlackExport(),)


SLACK = Surface(
    name="slack",
    settings=SlackSettings,
    token="slack_bot_token",
    people="colleagues",
    alone_needs=(
        "Slack's bot alone needs SLACK_BOT_TOKEN and SLACK_APP_TOKEN (Socket Mode). Over HTTP `bob run` serves it."
    ),
    shows=(
        "Your answer is shown in Slack: standard Markdown with headings, lists, task lists, quotes, links, tables and "
        "code in fences. No LaTeX, no HTML, no images, no footnotes. An @ before the name of somebody who takes part "
        "in the conversation notifies them, so write it only where that is wanted. Who asks for something `as a file` "
        "gets each table and each code block of your answer as one, so put it there, with the language at the fence."
    ),
    banner=_banner,
    path=_path,
    check=_check,
    open=_open,
    export_formats=_export_formats,
)
