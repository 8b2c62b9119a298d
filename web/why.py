"""`bob why`: what became of a question, for whoever runs Bob. It tells nothing of what was said."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import click

from bots.shared.caller import OUT_OF_REACH, TOO_MANY_CALLS
from bots.shared.surface import Link, LoadedSurface
from core import (
    AFTER_THE_ANSWER,
    ANOTHER_THREAD,
    NO_MENTION,
    QUESTION_NOT_SHOWN,
    ROLE_MENTION,
    SAID_BEFORE,
    SOMEBODY_ELSE,
    Count,
    Event,
    Fate,
    Outcome,
    Stories,
    Story,
    TurnStory,
)

SECONDS_AROUND = 1_800.0
MOST_TOLD = 20
_REFERENCE = re.compile(r"[0-9a-f]{8,32}")

OF_TURNS = {
    Outcome.ANSWERED: "Answered.",
    Outcome.INCOMPLETE: "Answered in part: the language model broke off, and the answer says so.",
    Outcome.STOPPED: "Stopped by a person: what was written until then is the answer.",
    Outcome.FAILED: "Failed: {failure}",
    Outcome.REFUSED: "Not allowed: {failure}",
    Outcome.UNDELIVERABLE: "Undeliverable: {failure}",
    Outcome.INTERRUPTED: "Interrupted: its process died, and without an Idempotency-Key nobody can fetch the answer.",
    Outcome.FORGOTTEN: "Forgotten: its conversation was erased.",
    Outcome.WITHDRAWN: "Deleted by its author before it was answered.",
    Outcome.SUPERSEDED: "Replaced by the question after it, which its author asked in its place.",
}
OF_EVENTS = {
    Fate.DUPLICATE: "Duplicate: it was delivered again, and had been taken in before.",
    Fate.NOT_ADDRESSED: "Not addressed to Bob: {why}",
    Fate.NOT_ALLOWED: "Not allowed: {why}",
    Fate.COMMAND: "A command: {why}.",
    Fate.REFUSED: "Refused: {why}",
    Fate.UNREADABLE: "Unreadable: {why}",
    Fate.BARE_MENTION: "A mention without words: what its author says next within a minute is the question.",
    Fate.EDITED: "Edited: {why}",
    Fate.DELETED: "Deleted: {why}",
    Fate.LIMITED: "Over a limit: {why}",
    Fate.WITHHELD: "The platform says that it withheld events from this app in that minute: they were too many.",
}
NOT_IN_A_THREAD_OF_HIS = "Without a mention it was not for Bob: it is in no thread in which he takes part."
WHYS = {
    NO_MENTION: "it does not mention him, and is in no thread in which he answers without that.",
    ANOTHER_THREAD: "it is in a thread in which he takes no part, where only a mention is for him.",
    SOMEBODY_ELSE: "it begins with somebody else's mention, or replies to somebody else.",
    SAID_BEFORE: "it was said before the message that called him into its thread.",
    ROLE_MENTION: "it mentions a role of Bob's and not Bob, and without the Message Content Intent Discord "
    "hides its words.",
    AFTER_THE_ANSWER: "the answer was there already.",
    QUESTION_NOT_SHOWN: "Slack did not let Bob show it where it was typed.",
    "SLACK_APPS": "an app says it that is not listed in SLACK_APPS.",
    "DISCORD_APPS": "an app says it that is not listed in DISCORD_APPS.",
    "SLACK_CHANNELS": "its channel is not listed in SLACK_CHANNELS.",
    "SLACK_PEOPLE": "its person is neither listed in SLACK_PEOPLE nor in a user group that is.",
    "SLACK_STRANGERS": "its person is of another company, which SLACK_STRANGERS does not let ask.",
    "DISCORD_GUILDS": "its server is not listed in DISCORD_GUILDS, or its person in none that is.",
    "DISCORD_CHANNELS": "its channel is not listed in DISCORD_CHANNELS.",
    "DISCORD_ROLES": "its person has none of the roles of DISCORD_ROLES.",
    "NotAllowed": "it could not be found out in time whether its person may ask.",
    "PasswordsClosed": "too many words that may be passwords were said within an hour (PRIVATE_BOB_PASSWORD is a PIN).",
    "NoPrivateHere": "it holds the password of a private assistant, where that opens nothing.",
    "BadQuestion": "it is empty, or longer than MAX_QUESTION_CHARACTERS, or none of its files can be read.",
    "FilesTooLarge": "its files are larger than MAX_FILE_BYTES_OF_A_TURN together, or too many.",
    "EventReused": "its Idempotency-Key came before, with another text.",
    "OnlyApps": "apps alone asked the last turns there.",
    "Overloaded": "too many turns waited (MAX_TURNS_AT_ONCE, MAX_TURNS_WAITING).",
    "ModelBusy": "the language model refused for now (its rate limit).",
    "ModelUnavailable": "the language model could not be reached, said nothing for too long, or broke off.",
    "ModelQuotaExhausted": "the account at the language model's provider is used up.",
    "ModelMisconfigured": "the language model refuses our key, model or parameters, or the assistant is gone.",
    "QuestionRefused": "the provider's policies refused the question.",
    "FilesRefused": "the language model refuses what is attached.",
    "TooLong": "it does not fit into the model's context.",
    "NoWords": "the language model ended its answer without a word.",
    "OutOfTime": "its deadline passed (TURN_DEADLINE_SECONDS).",
    "GivenUp": "the processes that worked on it died too often.",
    "AnswerFailed": "for a reason of ours; the log has the exception beside the turn's reference.",
    "": "nothing more is known.",
    # Why it could not be shown: what a platform calls that. What is not here is told as the platform calls it.
    OUT_OF_REACH: "its platform could not be reached, or failed, for ten minutes.",
    TOO_MANY_CALLS: "its platform let Bob make no call of that kind for ten minutes (its rate limit).",
    "is_archived": "its channel is archived.",
    "is_inactive": "its channel is archived, or its person is gone.",
    "channel_not_found": "its channel is deleted, or Bob was removed from it.",
    "not_in_channel": "Bob was removed from its channel.",
    "thread_not_found": "its thread is deleted.",
    "restricted_action": "its workspace does not let Bob write in its channel.",
    "restricted_action_read_only_channel": "its channel is read-only.",
    "restricted_action_thread_only_channel": "its channel takes only answers in threads.",
    "messages_tab_disabled": "Bob's Messages tab is switched off in the app's settings (App Home).",
    "no_permission": "Slack no longer lets Bob write there.",
    "team_access_not_granted": "Bob is not installed in its workspace.",
    "user_disabled": "its person was deactivated in Slack.",
    "token_revoked": "Slack no longer takes SLACK_BOT_TOKEN: it was revoked.",
    "token_expired": "Slack no longer takes SLACK_BOT_TOKEN: it has expired.",
    "invalid_auth": "Slack does not take SLACK_BOT_TOKEN.",
    "account_inactive": "Slack no longer takes SLACK_BOT_TOKEN: Bob was uninstalled.",
    "missing_scope": "SLACK_BOT_TOKEN lacks a scope that the manifest asks for: install the app anew.",
    "401": "Discord no longer takes DISCORD_TOKEN.",
    "10003": "its channel or thread is deleted, or Bob is no longer in its server.",
    "10004": "Bob is no longer in its server.",
    "50001": "Bob no longer sees its channel.",
    "50007": "its person takes no direct messages of Bob's.",
    "50013": "Bob lacks a permission in its channel.",
    "50083": "its thread is closed, and Bob may not open it again.",
    "160005": "its thread is locked.",
}


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of what was asked for; where that is nothing, what is known of its time, and what to look at."""

    stories: Sequence[Story]
    link: Link | None = None
    nothing: str = "It never reached Bob as a question."
    counted: Sequence[Count] = ()
    hints: Sequence[str] = ()
    to_check: Sequence[str] = ()


async def look(stories: Stories, surfaces: Sequence[LoadedSurface], which: str) -> Found:
    """What became of a message, by its link or id, or of a turn, by its reference. Raises click.ClickException."""
    links = [(each, link) for each in surfaces if (link := each.surface.message_at(which)) is not None]
    for each, link in links:
        if found := await stories.of_message(each.surface.name, link.message):
            return Found(found, link)
    if _REFERENCE.fullmatch(which) and (found := await stories.of_reference(which)):
        return Found(found)
    if links:
        return await _unheard(stories, *links[0])
    if _REFERENCE.fullmatch(which):
        raise click.ClickException("There is no turn with this reference.")
    raise click.ClickException(
        "That is no link or id of a message, and no reference of a turn, which has 8 hexadecimal digits at least."
    )


async def look_at_person(
    stories: Stories, surfaces: Sequence[LoadedSurface], person: str, around: float | None
) -> Found:
    """What became of what somebody asked last, or around a time."""
    people = [person, *(f"{each.surface.name}:{person}" for each in surfaces)]
    if around is None:
        return Found(await stories.of_person(*people, limit=MOST_TOLD), nothing="Nothing is known of what they asked.")
    since, until = around - SECONDS_AROUND, around + SECONDS_AROUND
    found = await stories.of_person(*people, since=since, until=until, limit=MOST_TOLD)
    return Found(
        found, nothing="Nothing is known of what they asked then.", counted=await stories.counted(since, until)
    )


async def look_at_session(stories: Stories, session: str) -> Found:
    """What became of what was asked last in a session."""
    found = await stories.of_session(session, f"web:public:{session}", limit=MOST_TOLD)
    return Found(found, nothing="Nothing is known of what was asked there.")


async def _unheard(stories: Stories, of: LoadedSurface, link: Link) -> Found:
    surface = of.surface.name
    withheld = [story for each in link.withheld for story in await stories.of_message(surface, each)]
    hints: list[str] = []
    if not withheld and link.thread is not None and not await stories.takes_part(surface, link.thread):
        hints.append(NOT_IN_A_THREAD_OF_HIS)
    counted = await stories.counted(link.said_at, link.said_at + SECONDS_AROUND)
    of_this = [each for each in counted if each.surface == surface]
    return Found(withheld, counted=of_this, hints=hints, to_check=of.surface.if_unheard)


# ── telling ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def line_of(story: Story) -> str:
    """What became of it, in one line."""
    if story.turn is None:
        event = story.events[-1]
        return OF_EVENTS[event.fate].format(why=_why(event.why))
    turn = story.turn
    line = _state_of(turn) if turn.outcome is None else OF_TURNS[turn.outcome].format(failure=_why(turn.failure or ""))
    return (
        f"Joined: it is one question with what its author said right before or after it. {line}"
        if story.joined
        else line
    )


def _state_of(turn: TurnStory) -> str:
    if turn.waits_behind:
        return f"It waits for {_earlier(turn.waits_behind)}."
    return "It waits to be begun." if turn.started_at is None else "It is being answered."


def _why(why: str) -> str:
    return WHYS.get(why, why)


def steps_of(story: Story, link: Link | None = None) -> list[tuple[float, str]]:
    """What happened to it, in order; with when it was said, by its platform's clock, if it is what the link names."""
    steps = [(each.at, _step(each)) for each in story.events]
    turn = story.turn
    asked_by = (turn if turn is not None else story.events[-1]).event_id or ""
    if link is not None and asked_by.endswith(link.message):
        steps.append((link.said_at, "said"))
    if turn is not None:
        behind = f", behind {_earlier(turn.waited_behind)}" if turn.waited_behind else ""
        times = [
            (turn.accepted_at, f"accepted for {turn.assistant}{behind}"),
            (turn.changed_at, f"changed or deleted by its author{_times(turn.changes)}"),
            (turn.reclaimed_at, f"reclaimed from a process that was gone{_times(turn.reclaims)}"),
            (turn.started_at, "begun"),
            (turn.shown_at, "first shown"),
            (turn.closed_at, f"closed: {turn.outcome or 'open'}"),
        ]
        steps += [(at, what) for at, what in times if at is not None]
    return sorted(steps, key=lambda step: step[0])


def _earlier(questions: int) -> str:
    return f"{questions} earlier question{'s' * (questions > 1)} of its session"


def _times(number: int) -> str:
    return f", {number} times by now" if number > 1 else ""


def _step(event: Event) -> str:
    return f"{event.fate}{f' ({event.why})' if event.why else ''}{_times(event.times)}"


def told(found: Found) -> Iterator[str]:
    """The lines that tell it."""
    for story in found.stories:
        yield line_of(story)
        turn = story.turn
        known = turn if turn is not None else story.events[-1]
        about = [known.surface, f"turn {turn.reference}" if turn is not None else None, known.session, known.person]
        yield "  " + "  ".join(each for each in about if each)
        for at, what in steps_of(story, found.link):
            yield f"  {moment(at)}  {what}"
        yield ""
    if not found.stories:
        yield found.nothing
        yield from (f"  {each}" for each in found.hints)
    for count in found.counted:
        became = ", ".join(each for each in (count.fate, count.why) if each)
        yield f"  {count.events} on {count.surface} in the hour from {moment(count.hour)[:16]}: {became}"
    if not found.stories and found.to_check:
        yield "To look at:"
        yield from (f"  - {each}" for each in found.to_check)


def as_json(found: Found) -> str:
    """The same for programs; times are seconds since 1970."""
    told_of: list[dict[str, Any]] = [
        {"became": each.became, "line": line_of(each), **asdict(each)} for each in found.stories
    ]
    more = {
        "said_at": found.link and found.link.said_at,
        "counted": [asdict(each) for each in found.counted],
        "hints": found.hints,
        "to_check": found.to_check,
    }
    return json.dumps({"stories": told_of, **more}, indent=2)


def say(found: Found, *, in_json: bool) -> None:
    """Print it, and end with status 1 where there is nothing of what was asked for."""
    for line in [as_json(found)] if in_json else told(found):
        click.echo(line)
    if not found.stories:
        sys.exit(1)


def moment(at: float) -> str:
    """A time as people here read it, as the log has it."""
    return datetime.fromtimestamp(at).astimezone().isoformat(" ", "milliseconds")


def time_in(text: str) -> float:
    """The time that somebody means, by this machine's time zone unless they name one. Raises click.BadParameter."""
    try:
        if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", text):
            now = datetime.now().astimezone()
            hour, minute, *second = map(int, text.split(":"))
            then = now.replace(hour=hour, minute=minute, second=second[0] if second else 0, microsecond=0)
            return (then if then <= now else then - timedelta(days=1)).timestamp()
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        raise click.BadParameter("write it as 20:15, or 2026-11-30 20:15.", param_hint="--around") from None
