"""What a message in Slack says: of every shape that Slack documents the words are read, or it is named as unread."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_sdk.models import blocks as sdk_blocks

from bots.shared.content import DEEPEST, LONGEST_CONTENT, MOST_PARTS, THE_REST, Content, Quote
from bots.slack.content import (
    ACCEPTED_SUBTYPES,
    NAMELESS_ATTACHMENT,
    OTHER_SUBTYPES,
    author_of,
    content_of,
    raw_words_of,
)
from core import Json

LONG = 100_000


def plain(text: str) -> Json:
    return {"type": "plain_text", "text": text, "emoji": True}


def mrkdwn(text: str) -> Json:
    return {"type": "mrkdwn", "text": text}


def rich(*inline: Json, kind: str = "rich_text_section", **more: Any) -> Json:
    return {"type": "rich_text", "elements": [{"type": kind, "elements": [*inline], **more}]}


def words(text: str) -> Json:
    return {"type": "text", "text": text}


OPTION = {"text": plain("Red"), "value": "r", "description": plain("as blood")}
PIE = {"type": "pie", "segments": [{"label": "Twix", "value": 28}]}
BARS = {
    "type": "bar", "series": [{"name": "Sales", "data": [{"label": "May", "value": 4.5}]}],
    "axis_config": {"categories": ["May"], "x_label": "Month", "y_label": "Money"},
}  # fmt: skip

# Block by block: what is read of it, and what is named as unread. Sources: docs.slack.dev/reference/block-kit/blocks.
BLOCKS: dict[str, tuple[Json, list[str], list[str]]] = {
    "actions": ({"elements": [{"type": "button", "text": plain("Approve"), "action_id": "a"}]}, ["Approve"], []),
    "alert": ({"text": mrkdwn("It burns"), "level": "error"}, ["It burns"], []),
    "auth_provider": ({"value": "x", "name": "Jira", "description": plain("Sign in")}, ["Jira", "Sign in"], []),
    "call": ({"call_id": "R1", "call": {"v1": {"name": "Standup"}}}, ["A call Standup"], []),
    "card": (
        {"title": mrkdwn("Ticket"), "subtitle": mrkdwn("open"), "body": mrkdwn("The roof leaks"),
         "hero_image": {"type": "image", "image_url": "https://x.org", "alt_text": "a roof"},
         "actions": [{"type": "button", "text": plain("Close")}]},
        ["Ticket", "open", "The roof leaks", "Close", "a roof"], ["the picture a roof"],
    ),
    "carousel": ({"elements": [{"type": "card", "title": mrkdwn("Ticket")}]}, ["Ticket"], []),
    "container": (
        {"title": plain("Deploy"), "subtitle": mrkdwn("main"),
         "child_blocks": [{"type": "header", "text": plain("Red")}]},
        ["Deploy", "main", "Red"], [],
    ),
    "context": (
        {"elements": [mrkdwn("by *Ada*"), {"type": "image", "image_url": "https://x.org", "alt_text": "Ada"}]},
        ["by *Ada*"], ["the picture Ada"],
    ),
    "context_actions": (
        {"elements": [{"type": "feedback_buttons", "positive_button": {"text": plain("Good"), "value": "1"},
                       "negative_button": {"text": plain("Bad"), "value": "0"}},
                      {"type": "icon_button", "icon": "trash", "text": plain("Delete")}]},
        ["Good", "Bad", "Delete"], [],
    ),
    "data_table": (
        {"caption": "Prices",
         "rows": [[{"type": "raw_text", "text": "Roof"}, {"type": "raw_number", "value": 5, "text": "5 €"}]]},
        ["Prices", "| Roof | 5 € |"], [],
    ),
    "data_visualization": ({"title": "Sweets", "chart": PIE}, ["Sweets", "Twix: 28"], []),
    "divider": ({}, [], []),
    "file": ({"external_id": "x", "source": "remote", "file": {"title": "Plan"}}, [], ["Plan"]),
    "header": ({"text": plain("Outage")}, ["Outage"], []),
    "image": (
        {"image_url": "https://x.org", "alt_text": "a red roof", "title": plain("Roof")},
        ["Roof", "a red roof"], ["the picture Roof a red roof"],
    ),
    "input": (
        {"label": plain("Why?"), "hint": plain("in short"),
         "element": {"type": "plain_text_input", "placeholder": plain("because")}},
        ["Why?", "in short", "because"], [],
    ),
    "markdown": ({"text": "# Title\n**bold**"}, ["# Title\n**bold**"], []),
    "plan": (
        {"title": "Painting", "tasks": [{"type": "task_card", "task_id": "1", "title": "Buy paint"}]},
        ["Painting", "Buy paint"], [],
    ),
    "rich_text": (rich(words("The roof leaks")), ["The roof leaks"], []),
    "section": (
        {"text": mrkdwn("*State* of <https://x.org|the roof>"), "fields": [mrkdwn("*Who*\n<@U2>")],
         "accessory": {"type": "static_select", "placeholder": plain("Choose"), "options": [OPTION]}},
        ["*State* of the roof (https://x.org)", "*Who*\n<@U2>", "Choose", "Red", "as blood"], [],
    ),
    "table": (
        {"rows": [[{"type": "raw_text", "text": "Name"}, {"type": "raw_text", "text": "Price"}],
                  [{"type": "raw_text", "text": "Roof"}, rich({"type": "link", "url": "https://x.org",
                                                                 "text": "ask"})],
                  ]},
        ["| Name | Price |\n| Roof | ask (https://x.org) |"], [],
    ),
    "task_card": (
        {"task_id": "1", "title": "Look", "details": rich(words("in the attic")), "output": rich(words("a hole")),
         "sources": [{"type": "url", "url": "https://x.org", "text": "Roofs"}], "status": "complete"},
        ["Look", "in the attic", "a hole", "Roofs", "https://x.org"], [],
    ),
    "video": (
        {"title": plain("How to"), "description": plain("mend a roof"), "alt_text": "a man", "video_url": "https://x.org",
         "thumbnail_url": "https://x.org"},
        ["How to", "mend a roof"], ["the video a man"],
    ),
}  # fmt: skip


def from_an_app(**message: Any) -> Content:
    return content_of({"type": "message", "bot_id": "B9", "username": "Monitor", "text": "", **message})


def of_a_person(**message: Any) -> Content:
    return content_of({"type": "message", "user": "U1", "text": "look", **message})


def is_read(content: Content, said: list[str], unread: list[str]) -> None:
    """Each word is in what the model is told, and what is unread is named to it."""
    told = content.told(LONG)
    for text in said:
        assert text in told
    assert list(content.unread) == unread
    for name in unread:
        assert name in told


@pytest.mark.parametrize("kind", BLOCKS)
def test_each_kind_of_block_is_read_from_an_app_from_a_person_and_in_an_attachment(kind: str) -> None:
    more, said, unread = BLOCKS[kind]
    block = {"type": kind, "block_id": "b", **more}
    is_read(from_an_app(blocks=[block]), said, unread)
    is_read(from_an_app(text="New!", attachments=[{"blocks": [block], "fallback": "x"}]), ["New!", *said], unread)
    shared = {"message": {"blocks": [block]}, "channel": "C1", "ts": "1.1"}
    is_read_of_quote = of_a_person(attachments=[{"is_share": True, "message_blocks": [shared], "ts": "1.1"}])
    (quote,) = is_read_of_quote.quotes
    assert all(text in quote.text for text in said)
    assert [name for name in quote.unread if name != NAMELESS_ATTACHMENT] == unread
    if kind != "rich_text":  # that is what a person types, and stands in the text
        is_read(of_a_person(blocks=[rich(words("look")), block]), ["look", *said], unread)


def test_every_kind_of_block_that_slacks_own_library_knows_is_in_the_table() -> None:
    classes = [each for each in vars(sdk_blocks).values() if isinstance(each, type)]
    known = {getattr(each, "type", None) for each in classes if issubclass(each, sdk_blocks.Block)}
    assert {kind for kind in known if isinstance(kind, str)} <= set(BLOCKS)


# Sources: docs.slack.dev/reference/block-kit/block-elements
INLINE: dict[str, tuple[Json, str]] = {
    "attachment_mention": ({"url": "https://x.org/1", "text": "Ticket 1"}, "Ticket 1 (https://x.org/1)"),
    "broadcast": ({"range": "here"}, "@here"),
    "canvas": ({"file_id": "F1", "label": "Our plan"}, "Our plan"),
    "canvas_message_unfurl": ({"url": "https://x.slack.com/archives/C1/p1"}, "https://x.slack.com/archives/C1/p1"),
    "canvas_user_mention": ({"user_id": "U2"}, "<@U2>"),
    "channel": ({"channel_id": "C2"}, "<#C2>"),
    "color": ({"value": "#ff0000"}, "#ff0000"),
    "date": ({"timestamp": 1720710212, "format": "{date}", "fallback": "July 11"}, "July 11"),
    "emoji": ({"name": "wave", "unicode": "1f44b"}, ":wave:"),
    "link": ({"url": "https://x.org", "text": "here", "unsafe": True}, "here (https://x.org)"),
    "team": ({"team_id": "T2"}, "T2"),
    "text": ({"text": "a < b & c", "style": {"bold": True}}, "a < b & c"),
    "user": ({"user_id": "U2"}, "<@U2>"),
    "usergroup": ({"usergroup_id": "S1"}, "<!subteam^S1>"),
}


@pytest.mark.parametrize("kind", INLINE)
def test_each_part_of_rich_text_is_read(kind: str) -> None:
    more, read = INLINE[kind]
    block = rich(words("see "), {"type": kind, **more})
    is_read(from_an_app(blocks=[block]), [f"see {read}"], [])
    is_read(of_a_person(text="", blocks=[block]), [f"see {read}"], [])


@pytest.mark.parametrize(
    ("kind", "more", "read"),
    [
        ("rich_text_section", {}, "a roof"),
        ("rich_text_quote", {}, "> a roof"),
        ("rich_text_preformatted", {"border": 0}, "```\na roof\n```"),
    ],
)
def test_each_form_of_rich_text_is_read(kind: str, more: Json, read: str) -> None:
    is_read(from_an_app(blocks=[rich(words("a roof"), kind=kind, **more)]), [read], [])


def test_a_list_is_read_item_by_item() -> None:
    items = [{"type": "rich_text_section", "elements": [words(text)]} for text in ("one", "two")]
    is_read(
        from_an_app(blocks=[rich(*items, kind="rich_text_list", style="ordered", indent=1)]), ["  • one\n  • two"], []
    )


@pytest.mark.parametrize("chart", [PIE, BARS, {**BARS, "type": "line"}, {**BARS, "type": "area"}])
def test_each_kind_of_chart_is_read_value_by_value(chart: Json) -> None:
    said = ["Twix: 28"] if chart is PIE else ["Sales", "May: 4.5", "Month", "Money"]
    is_read(from_an_app(blocks=[{"type": "data_visualization", "title": "T", "chart": chart}]), said, [])


# Sources: docs.slack.dev/legacy/legacy-messaging/legacy-secondary-message-attachments, and unfurled links.
ATTACHMENTS: dict[str, tuple[Any, list[str], list[str]]] = {
    "pretext": ("Look:", ["Look:"], []),
    "author_name": ("Grace", ["Grace"], []),
    "author_subname": ("of Sales", ["of Sales"], []),
    "service_name": ("GitHub", ["GitHub"], []),
    "title": ("CPU is hot", ["CPU is hot"], []),
    "text": ("91 % for <https://x.org|5 minutes>", ["91 % for 5 minutes (https://x.org)"], []),
    "fields": ([{"title": "Host", "value": "db-1", "short": True}], ["Host: db-1"], []),
    "footer": ("Prometheus", ["Prometheus"], []),
    "fallback": ("CPU is hot", ["CPU is hot"], []),
    "title_link": ("https://x.org/1", ["https://x.org/1"], []),
    "image_url": ("https://x.org/1.png", [], ["the picture in an attachment"]),
    "thumb_url": ("https://x.org/1.png", [], ["the picture in an attachment"]),
    "video_html": ("<iframe>", [], ["the video in an attachment"]),
    "audio_html": ("<iframe>", [], ["the recording in an attachment"]),
    "actions": ([{"name": "a", "type": "button", "text": "Silence"}], ["Silence"], []),
    "files": ([{"name": "log.txt"}], [], ["log.txt"]),
    "preview": ({"type": "x", "title": {"type": "plain_text", "text": "A ticket"}}, ["A ticket"], []),
    **dict.fromkeys(("color", "ts", "callback_id", "mrkdwn_in", "footer_icon"), ("x", [], [NAMELESS_ATTACHMENT])),
}


@pytest.mark.parametrize("name", ATTACHMENTS)
def test_each_field_of_an_attachment_is_read_and_one_that_says_nothing_is_named(name: str) -> None:
    value, said, unread = ATTACHMENTS[name]
    is_read(from_an_app(attachments=[{name: value}]), said, unread)
    is_read(of_a_person(attachments=[{name: value}]), ["look", *said], unread)


FORWARDED = {
    "is_share": True, "is_msg_unfurl": True, "ts": "1712.000100", "channel_id": "C2", "author_id": "U2",
    "author_name": "Grace", "text": "The cat is called <@U3|Tom>",
    "fallback": "[April 1st] grace: The cat is called Tom",
    "from_url": "https://x.slack.com/archives/C2/p1712000100000200", "footer": "Posted in #pets", "mrkdwn_in": ["text"],
}  # fmt: skip


@pytest.mark.parametrize("kind", ["is_share", "is_msg_unfurl", "is_reply_unfurl", "is_thread_root_unfurl"])
def test_a_message_that_is_forwarded_or_linked_to_is_a_quote_of_its_author(kind: str) -> None:
    attachment = {name: value for name, value in FORWARDED.items() if not name.startswith("is_")}
    (quote,) = content_of({"user": "U1", "text": "", "attachments": [{**attachment, kind: True}]}, str, "T1").quotes
    assert quote == Quote("T1:C2:1712.000100", "U2", "Grace", "The cat is called <@U3>\nPosted in #pets", ())


def test_the_message_that_a_link_leads_to_is_known_by_its_address_where_nothing_else_tells() -> None:
    told = {name: value for name, value in FORWARDED.items() if name not in ("ts", "channel_id", "author_name")}
    (quote,) = content_of({"user": "U1", "text": "", "attachments": [told]}, str, "T1").quotes
    assert (quote.id, quote.name) == ("T1:C2:1712000100.000200", "<@U2>")


def test_what_a_forwarded_message_shows_is_read_with_it() -> None:
    shown = {**FORWARDED, "text": "", "files": [{"name": "cat.png"}], "attachments": [{"title": "Cats"}],
             "message_blocks": [{"message": {"blocks": [rich(words("The cat"))]}}]}  # fmt: skip
    (quote,) = of_a_person(attachments=[shown]).quotes
    assert quote.text == "The cat\nCats\nPosted in #pets"
    assert quote.unread == ("cat.png",)


def test_a_forward_in_a_forward_is_a_quote_of_its_own() -> None:
    inner = {**FORWARDED, "author_name": "Ada", "text": "inner", "ts": "1.1"}
    first, second = of_a_person(attachments=[{**FORWARDED, "attachments": [inner]}]).quotes
    assert "inner" not in first.text
    assert (second.name, second.id) == ("Ada", ":C2:1.1")


# Sources: docs.slack.dev/reference/objects/file-object, and what is known of modes.
FILES: dict[str, tuple[Json, list[str], list[str]]] = {
    "hosted": ({"name": "plan.pdf", "title": "Plan", "mode": "hosted"}, [], ["Plan (plan.pdf)"]),
    "a picture with a description": ({"name": "a.png", "alt_txt": "a roof"}, ["a.png: a roof"], ["a.png"]),
    "snippet": ({"name": "a.py", "mode": "snippet", "preview": "print(1)"}, ["a.py:\nprint(1)"], []),
    "a cut snippet": (
        {"name": "a.py", "mode": "snippet", "preview": "print(1)", "preview_is_truncated": True, "lines_more": 9},
        ["a.py:\nprint(1)"], ["the rest of a.py"],
    ),
    "post": ({"title": "Notes", "mode": "post", "preview": "We met"}, ["Notes:\nWe met"], []),
    "email": (
        {"title": "Bill", "mode": "email", "subject": "Your bill", "from": [{"address": "a@x.org", "original": "Ann"}],
         "plain_text": "Please pay", "preview_plain_text": "Please", "attachments": [{"filename": "bill.pdf"}]},
        ["Bill: Your bill", "from Ann", "Please pay"], ["bill.pdf"],
    ),
    "external": ({"title": "Sheet", "mode": "external", "is_external": True}, [], ["Sheet"]),
    "space": ({"title": "Canvas", "mode": "space", "filetype": "quip"}, [], ["Canvas"]),
    "list": ({"title": "Tasks", "mode": "list"}, [], ["Tasks"]),
    "tombstone": ({"id": "F1", "mode": "tombstone"}, [], ["a file that was deleted"]),
    "hidden_by_limit": ({"id": "F1", "mode": "hidden_by_limit"}, [], ["a file without a name"]),
    "file_access": (
        {"id": "F1", "mode": "file_access", "file_access": "check_file_info"}, [], ["a file without a name"],
    ),
    "a voice clip": (
        {"name": "audio.mp4", "subtype": "slack_audio",
         "transcription": {"status": "complete", "locale": "en-US",
                           "preview": {"content": "Buy milk", "has_more": False}}},
        ["audio.mp4, as Slack transcribed it:\nBuy milk"], [],
    ),
    "a long voice clip": (
        {"name": "audio.mp4", "transcription": {"status": "complete", "preview": {"content": "Buy", "has_more": True}}},
        ["Buy"], ["the rest of audio.mp4"],
    ),
    "a voice clip that is not transcribed yet": (
        {"name": "audio.mp4", "transcription": {"status": "processing"}}, [], ["audio.mp4"],
    ),
    "a comment": ({"name": "a.png", "initial_comment": {"comment": "look at that"}}, ["look at that"], ["a.png"]),
    "a mode that is new": ({"name": "a.hologram", "mode": "hologram"}, [], ["a.hologram"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_each_kind_of_file_is_read_or_named(kind: str) -> None:
    file, said, unread = FILES[kind]
    is_read(of_a_person(files=[file], subtype="file_share"), ["look", *said], unread)
    is_read(from_an_app(files=[file]), said, unread)


def test_files_that_the_app_may_not_see_are_named() -> None:
    assert of_a_person(x_files=["F1"]).unread == ("a file without a name",)


# ── whose it is, and which of it is seen ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("subtype", [*ACCEPTED_SUBTYPES, *sorted(OTHER_SUBTYPES)])
def test_a_message_of_each_subtype_says_its_text(subtype: str | None) -> None:
    is_read(content_of({"user": "U1", "text": "joined &lt;C1&gt;", "subtype": subtype}), ["joined <C1>"], [])


@pytest.mark.parametrize(
    ("new", "unread"),
    [
        ({"subtype": "telepathy"}, "a message of the kind “telepathy”"),
        ({"subtype": ["x"]}, "a message of the kind “”"),
        ({"blocks": [{"type": "hologram", "text": "x"}]}, "a block of the kind “hologram”"),
        ({"blocks": [{"text": "x"}]}, "a block that has no name"),
        ({"blocks": [{"type": "section", "accessory": {"type": "knob"}}]}, "a block of the kind “knob”"),
        ({"blocks": [rich({"type": "smell"})]}, "a part of the text of the kind “smell”"),
        ({"blocks": [rich(kind="rich_text_spiral")]}, "a part of the text of the kind “rich_text_spiral”"),
        ({"blocks": [{"type": "data_visualization", "chart": {"type": "radar"}}]}, "a chart"),
        ({"blocks": [{"type": "table", "rows": [[{"type": "abacus"}]]}]}, "a block of the kind “abacus”"),
        ({"attachments": [{"hologram": "x"}]}, NAMELESS_ATTACHMENT),
        ({"attachments": ["x"]}, "an attachment"),
        ({"attachments": {"0": {}}}, "an attachment"),
        ({"files": [5]}, "a file without a name"),
        ({"blocks": [{"type": "\u202e<@U1> x" * 50}]}, "a block of the kind “U1xU1xU1xU1xU1x”"),
    ],
)
def test_a_shape_that_is_new_is_named(new: Json, unread: str) -> None:
    content = of_a_person(**new)
    if unread.endswith("“”"):
        unread = "a message of the kind that has no name"
    assert content.unread == (unread,)
    assert unread in content.told(LONG)


def test_what_a_person_types_is_said_once() -> None:
    content = of_a_person(text="see *this*", blocks=[rich(words("see "), {"type": "text", "text": "this"})])
    assert content == Content("see *this*")


def test_an_apps_text_is_said_where_its_blocks_do_not_say_it() -> None:
    header = {"type": "header", "text": plain("Outage")}
    assert from_an_app(text="Outage", blocks=[header]).told(LONG) == "Outage"
    assert from_an_app(text="db-1 is down", blocks=[header]).told(LONG) == "db-1 is down\nOutage"
    assert from_an_app(text="This content can't be displayed.", blocks=[header]).told(LONG) == "Outage"


@pytest.mark.parametrize(
    ("message", "author"),
    [
        ({"user": "U1"}, "<@U1>"),
        ({"user": "U9", "bot_id": "B9"}, "<@U9> (app)"),
        ({"user": "U9", "bot_id": "B9", "bot_profile": {"name": "Otherbot"}}, "Otherbot (app)"),
        ({"bot_id": "B9", "username": "Monitor", "bot_profile": {"name": "x"}}, "Monitor (app)"),
        ({"subtype": "bot_message"}, "An app (app)"),
        ({"user": 5}, ""),
    ],
)
def test_who_says_it_is_known(message: Json, author: str) -> None:
    assert author_of(message) == author


def test_words_that_stand_in_the_blocks_alone_are_what_a_person_says() -> None:
    blocks = [rich({"type": "user", "user_id": "U0BOT"}, words(" why < 5?"))]
    assert raw_words_of({"text": "", "blocks": blocks}) == "<@U0BOT> why &lt; 5?"
    assert of_a_person(text="", blocks=blocks).words == "<@U0BOT> why < 5?"


# ── bounds ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_of_too_many_blocks_too_deep_ones_and_too_long_ones_the_rest_is_named() -> None:
    header = {"type": "header", "text": plain("x")}
    deep: Json = header
    for _ in range(3 * DEEPEST):
        deep = {"type": "container", "title": plain("x"), "child_blocks": [deep]}
    for blocks in ([header] * (2 * MOST_PARTS), [deep], [{"type": "markdown", "text": "y" * (2 * LONGEST_CONTENT)}]):
        content = of_a_person(blocks=blocks)
        assert THE_REST in content.unread
        assert len(content.shown) <= 2 * LONGEST_CONTENT


def test_what_is_cut_is_cut_once_it_is_masked() -> None:
    text = "y" * (LONGEST_CONTENT - 3) + " 482913"
    content = content_of({"user": "U1", "text": "", "blocks": [{"type": "markdown", "text": text}]}, mask)
    assert "48" not in content.shown


def mask(text: str) -> str:
    return text.replace("482913", "••••••")


# ── whatever else comes ──────────────────────────────────────────────────────────────────────────────────────────────

NAMES = st.sampled_from(["type", "text", "x"])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)
EVERYTHING: Json = {
    "type": "message", "user": "U1", "text": "look", "ts": "1.1", "subtype": "file_share", "username": "x",
    "blocks": [{"type": kind, **more} for kind, (more, _, _) in BLOCKS.items()],
    "attachments": [
        {name: value for name, (value, _, _) in ATTACHMENTS.items()}, {**FORWARDED, "message_blocks": [{}]},
    ],
    "files": [file for file, _, _ in FILES.values()], "x_files": ["F1"], "room": {"name": "x"},
    "comment": {"comment": "x"}, "bot_profile": {"name": "x"},
}  # fmt: skip


def places(value: Any) -> list[list[Any]]:
    """The way to each place in a JSON value."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [[name, *way] for name, part in parts for way in ([], *places(part))]


def changed(value: Any, way: list[Any], to: Any) -> Any:
    if not way:
        return to
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[way[0]] = changed(copy[way[0]], way[1:], to)
    return copy


PLACES = places(EVERYTHING)


@settings(deadline=None, database=None, max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(PLACES), ANYTHING), min_size=1, max_size=3))
def test_nothing_in_place_of_anything_makes_it_fail(changes: list[tuple[list[Any], Any]]) -> None:
    for way, to in changes:
        message = changed(EVERYTHING, way, to)
        told = content_of(message).told(LONG) + author_of(message) + raw_words_of(message)
        json.dumps(told).encode()
        assert "\0" not in told
        assert told.encode()


WRONG: list[Any] = [5, -1e400, "x", "\ud800", [], ["x"], [None], {}, {"id": 5}, {"type": []}, None, True]


@pytest.mark.parametrize("start", range(4))
def test_no_wrong_value_at_any_place_makes_it_fail(start: int) -> None:
    for number, way in enumerate(PLACES, start):
        content_of(changed(EVERYTHING, way, WRONG[number % len(WRONG)])).told(LONG).encode()
