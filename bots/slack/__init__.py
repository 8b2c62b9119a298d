"""Bob in Slack."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from functools import partial

from bots.shared.surface import HttpHandler, SetupQuestion, Surface
from bots.slack.links import message_at
from bots.slack.manifest import is_delivered_to, manifest_for
from bots.slack.settings import PATH, SlackSettings
from bots.slack.tokens import APP_TOKEN, BOT_TOKEN, SIGNING_SECRET, wrong_for
from core import Chat, Check, Format


def _banner(settings: SlackSettings) -> str:
    return f"Slack ({'Socket Mode' if settings.transport == 'socket' else f'at {PATH}'})"


def _path(settings: SlackSettings) -> str | None:
    return PATH if settings.transport == "http" else None


def _checks(settings: SlackSettings) -> Sequence[Check]:
    from bots.slack.doctor import slack_checks

    return slack_checks(settings)


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
    checks=_checks,
    open=_open,
    message_at=message_at,
    if_unheard=(
        "Bob is in the channel (/invite @Bob), and the message mentions him, or is in a thread where he takes part.",
        "The app is installed with the events of bots/slack/manifest.json; with the mention-only manifest Slack "
        "delivers nothing but mentions and direct messages.",
        "What another app says is heard only if the app is listed in SLACK_APPS.",
        "Bob ran then, and Slack reached him: the log has a line for each question that is accepted.",
    ),
    questions=(
        SetupQuestion(
            "slack_bot_token",
            "The bot token, from OAuth & Permissions once the app is installed (xoxb-…)",
            partial(wrong_for, BOT_TOKEN),
        ),
        SetupQuestion(
            "slack_app_token",
            "An app-level token with connections:write, from Basic Information, App-Level Tokens (xapp-…)",
            partial(wrong_for, APP_TOKEN),
            is_asked=lambda public_url: not is_delivered_to(public_url),
        ),
        SetupQuestion(
            "slack_signing_secret",
            "The signing secret, from Basic Information, App Credentials",
            partial(wrong_for, SIGNING_SECRET),
            is_asked=is_delivered_to,
        ),
    ),
    files=manifest_for,
    export_formats=_export_formats,
)
