"""What a message on Discord says: of every shape that Discord documents the words are read, or it is named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.discord.content import (
    ANSWERED_MESSAGE,
    author_name_of,
    content_of,
    is_known_type,
    mentioned_in,
    quote_of,
)
from bots.discord.gateway import least_of
from bots.shared.content import DEEPEST, LONGEST_CONTENT, MOST_PARTS, NOTHING_TO_READ, THE_REST, Content
from core import Json
from tests.fakes import specs
from tests.fakes.discord_specs import FILE

BOT, ADA, GRACE = 1, 7, 8
LONG = 100_000


def said(**message: Any) -> Content:
    whole = {"id": "99", "type": 0, "author": {"id": str(ADA), "username": "ada"}, "content": "look", **message}
    return content_of(whole, BOT, {5: "general"})


def is_read(content: Content, words: list[str], unread: list[str]) -> None:
    """Each word is in what the model is told, and what is unread is named to it."""
    told = content.told(LONG)
    for text in words:
        assert text in told
    assert list(content.unread) == unread
    for name in unread:
        assert name in told


# ── types of messages ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(not (specs.folder() / FILE).is_file(), reason="Discord's own description is not here")
def test_every_type_of_message_and_component_that_discord_describes_is_known() -> None:
    schemas = json.loads((specs.folder() / FILE).read_text())["components"]["schemas"]
    types = [each["const"] for each in schemas["MessageType"]["oneOf"]]
    assert [each for each in types if not is_known_type(each)] == []
    components = [each["const"] for each in schemas["MessageComponentTypes"]["oneOf"]]
    assert [
        each for each in components if said(components=[{"type": each, "label": "x"}]).told(LONG).count("kind")
    ] == []


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16, 17, 18, 22, 24, 25, 26, 27, 28, 29,
                                  31, 32, 36, 37, 38, 39, 44, 46, 55])  # fmt: skip
def test_what_a_message_without_words_of_anybody_stands_for_is_said(kind: int) -> None:
    content = said(type=kind, content="", mentions=[{"id": str(GRACE), "username": "grace"}])
    assert content.shown.startswith("(")
    assert content.unread == ()
    assert ("grace" in content.shown) is (kind in (1, 2))


@pytest.mark.parametrize("kind", [0, 19, 20, 23])
def test_what_somebody_or_an_app_writes_is_its_words(kind: int) -> None:
    assert said(type=kind) == Content("look")


def test_a_threads_first_message_is_that_which_it_was_opened_from() -> None:
    start = {
        "id": "5",
        "author": {"id": str(GRACE), "username": "grace"},
        "content": "lunch?",
        "embeds": [{"title": "A"}],
    }
    (quote,) = said(type=21, content="", referenced_message=start).quotes
    assert (quote.id, quote.name, quote.text) == ("5", "grace", "lunch?\nA")
    assert said(type=21, content="", referenced_message=None).quotes[0].unread == (ANSWERED_MESSAGE,)


# ── embeds ───────────────────────────────────────────────────────────────────────────────────────────────────────────

# Sources: docs.discord.com/developers/resources/message, the embed object, and Discord's OpenAPI description.
EMBED: dict[str, tuple[Any, list[str], list[str]]] = {
    "title": ("CPU is hot", ["CPU is hot"], []),
    "url": ("https://x.org/1", ["https://x.org/1"], []),
    "description": ("91 % in <#5> says <@8>", ["91 % in #general says @8"], []),
    "fields": ([{"name": "Host", "value": "db-1", "inline": True}], ["Host: db-1"], []),
    "author": ({"name": "Grafana"}, ["Grafana"], []),
    "provider": ({"name": "YouTube"}, ["YouTube"], []),
    "footer": ({"text": "Prometheus"}, ["Prometheus"], []),
    "image": ({"url": "https://x.org/1.png", "description": "a graph"}, ["a graph"], ["the picture in an embed"]),
    "thumbnail": ({"url": "https://x.org/1.png"}, [], ["the small picture in an embed"]),
    "video": ({"url": "https://x.org/1.mp4"}, [], ["the video in an embed"]),
    "components": ([{"type": 10, "content": "More"}], ["More"], []),
}


@pytest.mark.parametrize("name", EMBED)
@pytest.mark.parametrize("kind", ["rich", "link", "article", "image", "video", "gifv", "poll_result",
                                  "auto_moderation_message", "a kind of next year"])  # fmt: skip
def test_each_field_of_each_kind_of_embed_is_read_or_named(name: str, kind: str) -> None:
    value, words, unread = EMBED[name]
    embed = {"type": kind, name: value, "color": 5, "timestamp": "2026-01-01T00:00:00+00:00", "flags": 0}
    is_read(said(embeds=[embed]), ["look", *words], unread)


@pytest.mark.parametrize("name", ["color", "timestamp", "flags", "hologram"])
def test_an_embed_that_says_nothing_is_named(name: str) -> None:
    assert said(embeds=[{"type": "rich", name: 5}]).unread == ("an embed of the kind “rich”",)


# ── components ───────────────────────────────────────────────────────────────────────────────────────────────────────

TEXT = {"type": 10, "content": "Hi <@8>"}
COMPONENTS: dict[int, tuple[Json, list[str], list[str]]] = {
    1: ({"components": [{"type": 2, "style": 1, "label": "Approve", "custom_id": "a"}]}, ["Approve"], []),
    2: ({"style": 5, "label": "Open", "url": "https://x.org"}, ["Open", "https://x.org"], []),
    3: (
        {"placeholder": "Choose", "options": [{"label": "Red", "value": "r", "description": "as blood"}]},
        ["Choose", "Red", "as blood"], [],
    ),
    4: ({"label": "Why?", "value": "because"}, ["Why?", "because"], []),
    5: ({"placeholder": "Who?"}, ["Who?"], []),
    6: ({"placeholder": "Which role?"}, ["Which role?"], []),
    7: ({"placeholder": "Who or which?"}, ["Who or which?"], []),
    8: ({"placeholder": "Where?"}, ["Where?"], []),
    9: (
        {"components": [TEXT], "accessory": {"type": 11, "media": {"url": "x"}, "description": "a cat"}},
        ["Hi @8", "a cat"], ["a small picture"],
    ),
    10: (TEXT, ["Hi @8"], []),
    11: ({"media": {"url": "x"}, "description": "a cat"}, ["a cat"], ["a small picture"]),
    12: ({"items": [{"media": {"url": "x"}, "description": "a dog"}]}, ["a dog"], ["a picture"]),
    13: ({"file": {"url": "attachment://a.txt"}, "name": "a.txt", "size": 5}, [], ["a.txt"]),
    14: ({"divider": True, "spacing": 1}, [], []),
    17: ({"components": [TEXT, {"type": 14}], "accent_color": 5}, ["Hi @8"], []),
    18: ({"label": "Name", "description": "of the cat", "component": {"type": 4, "value": "Tom"}},
         ["Name", "of the cat", "Tom"], []),
    19: ({"custom_id": "f"}, [], []),
    21: ({"options": [{"label": "Red", "value": "r"}]}, ["Red"], []),
    22: ({"options": [{"label": "Blue", "value": "b"}]}, ["Blue"], []),
    23: ({"custom_id": "c", "label": "I agree"}, ["I agree"], []),
}  # fmt: skip


@pytest.mark.parametrize("kind", COMPONENTS)
def test_each_type_of_component_is_read_or_named(kind: int) -> None:
    more, words, unread = COMPONENTS[kind]
    component = {"type": kind, "id": 1, **more}
    is_read(said(components=[component], flags=1 << 15), words, unread)
    is_read(said(components=[{"type": 17, "components": [component]}]), words, unread)


# ── files, stickers, polls, forwards ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("file", "words", "unread"),
    [
        ({"filename": "plan.pdf"}, [], ["plan.pdf"]),
        ({"filename": "plan.pdf", "title": "Our plan"}, [], ["Our plan (plan.pdf)"]),
        ({"filename": "a.png", "description": "a cat", "width": 5}, ["a.png: a cat"], ["a.png"]),
        ({"filename": "v.ogg", "duration_secs": 2.5, "waveform": "AA"}, [], ["a voice message"]),
        ({"filename": "SPOILER_a.png", "flags": 8}, [], ["SPOILER a.png"]),
        ({}, [], ["a file"]),
    ],
)
def test_each_kind_of_file_is_named(file: Json, words: list[str], unread: list[str]) -> None:
    is_read(said(attachments=[{"id": "1", "size": 5, **file}]), ["look", *words], unread)


@pytest.mark.parametrize("form", [1, 2, 3, 4, 99])
def test_each_form_of_sticker_is_named(form: int) -> None:
    for where in ("sticker_items", "stickers"):
        assert said(**{where: [{"id": "1", "name": "Wave", "format_type": form}]}).unread == ("the sticker Wave",)


def test_a_poll_is_read_with_its_votes() -> None:
    answers = [
        {"answer_id": 1, "poll_media": {"text": "Pizza"}},
        {"answer_id": 2, "poll_media": {"text": "Soup", "emoji": {"name": "🍲"}}},
        {"answer_id": 3, "poll_media": {"emoji": {"name": "🥗", "id": None}}},
    ]
    results = {"is_finalized": False, "answer_counts": [{"id": 1, "count": 3, "me_voted": False}]}
    content = said(content="", poll={"question": {"text": "Lunch?"}, "answers": answers, "results": results})
    assert content.told(LONG) == "Poll: Lunch?\n1. Pizza (3 votes)\n2. 🍲 Soup\n3. 🥗"


def test_what_a_forward_shows_is_a_quote_of_nobody() -> None:
    forwarded = {
        "content": "the cat, <@8>", "mentions": [{"id": "8", "username": "grace", "global_name": "Grace"}],
        "embeds": [{"title": "Tom"}], "attachments": [{"filename": "cat.png"}], "components": [TEXT],
        "sticker_items": [{"name": "Wave"}],
    }  # fmt: skip
    reference = {"type": 1, "message_id": "55", "channel_id": "5"}
    content = said(content="", message_reference=reference, message_snapshots=[{"message": forwarded}])
    (quote,) = content.quotes
    assert (quote.id, quote.name, quote.text) == ("55", "", "the cat, @Grace\nTom\nHi @Grace")
    assert quote.unread == ("cat.png", "the sticker Wave")
    assert content.unread == ()


def test_an_invitation_to_an_activity_is_named() -> None:
    content = said(activity={"type": 3, "party_id": "x"}, application={"name": "Chess"})
    assert content.unread == ("an invitation to Chess",)


# ── whose it is ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ({"author": {"username": "ada", "global_name": "Ada"}}, "Ada"),
        ({"author": {"username": "ada", "global_name": "Queen"}}, "Queen (ada)"),
        ({"author": {"username": "ada", "global_name": "Ada"}, "member": {"nick": "The\n Queen"}}, "The Queen (ada)"),
        ({"author": {"username": "dyno", "bot": True}}, "dyno (app)"),
        ({"author": {"username": "Deploys"}, "webhook_id": "5"}, "Deploys (app)"),
        ({"author": {"bot": True}}, "An app (app)"),
        ({"author": 5}, ""),
    ],
)
def test_who_says_it_is_known(message: Json, name: str) -> None:
    assert author_name_of(message) == name


def test_people_are_known_by_the_names_that_they_have_where_they_are_mentioned() -> None:
    users: list[Any] = [{"id": "8", "username": "grace", "member": {"nick": "Boss"}}, {"id": "x"}, 5]
    assert mentioned_in({"mentions": users}) == {8: "Boss"}
    assert mentioned_in({"mentions": "x"}) == {}


def test_a_message_that_is_replied_to_is_quoted_with_all_that_it_shows() -> None:
    embed = {"title": "CPU is hot", "image": {"url": "x"}}
    answered = {
        "id": "5",
        "author": {"id": "9", "username": "dyno", "bot": True},
        "content": "482913!",
        "embeds": [embed],
    }
    quote = quote_of(answered, BOT, {}, lambda text: text.replace("482913", "••••••"))
    assert (quote.id, quote.author, quote.name) == ("5", "9", "dyno (app)")
    assert quote.text == "••••••!\nCPU is hot"
    assert quote.unread == ("the picture in CPU is hot",)


@pytest.mark.parametrize("hidden", [None, {"id": "5", "author": {"id": "8"}, "content": "", "embeds": []}])
def test_a_message_that_is_replied_to_and_cannot_be_seen_is_named(hidden: Json | None) -> None:
    assert quote_of(hidden, BOT, {}, str).unread == (ANSWERED_MESSAGE,)


# ── what is new, and bounds ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("new", "unread"),
    [
        ({"type": 77}, "a message of the kind “77”"),
        ({"type": "x y"}, "a message of the kind that has no name"),
        ({"components": [{"type": 99, "text": "x"}]}, "a component of the kind “99”"),
        ({"components": [{"type": 9, "accessory": {"type": 98}}]}, "a component of the kind “98”"),
        ({"components": [{"text": "x"}]}, "a component of the kind that has no name"),
        ({"components": {"0": TEXT}}, "a component"),
        ({"embeds": [{"type": "hologram"}]}, "an embed of the kind “hologram”"),
        ({"embeds": ["x"]}, "an embed"),
        ({"attachments": [None]}, "a file"),
        ({"sticker_items": "x"}, "a sticker"),
        ({"poll": {"hologram": 5}}, "the question of a poll"),
        ({"message_snapshots": [5]}, "a forwarded message"),
    ],
)
def test_a_shape_that_is_new_is_named(new: Json, unread: str) -> None:
    content = said(**new)
    assert content.unread == (unread,)
    assert unread in content.told(LONG)


def test_a_message_that_says_nothing_at_all_is_named() -> None:
    assert said(content="").told(LONG) == f"(Not readable: {NOTHING_TO_READ})"


def test_of_too_many_embeds_too_deep_components_and_too_long_ones_the_rest_is_named() -> None:
    deep: Json = TEXT
    for _ in range(3 * DEEPEST):
        deep = {"type": 17, "components": [TEXT, deep]}
    for more in ({"embeds": [{"title": "x"}] * (2 * MOST_PARTS)}, {"components": [deep]},
                 {"embeds": [{"description": "y" * (2 * LONGEST_CONTENT)}]}):  # fmt: skip
        content = said(**more)
        assert THE_REST in content.unread
        assert len(content.shown) <= 2 * LONGEST_CONTENT


def test_forwards_in_forwards_and_starters_in_starters_end() -> None:
    inner: Json = {"content": "x", "type": 21}
    for _ in range(300):
        inner = {"content": "x", "type": 21, "message_snapshots": [{"message": inner}], "referenced_message": inner}
    assert THE_REST in str(said(**inner).quotes)


# ── whatever else comes ──────────────────────────────────────────────────────────────────────────────────────────────

NAMES = st.sampled_from(["type", "content", "id"])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)
EVERYTHING: Json = {
    "id": "99", "channel_id": "5", "type": 19, "content": "look", "flags": 0, "webhook_id": None,
    "author": {"id": "7", "username": "ada", "bot": False, "global_name": "Ada"}, "member": {"nick": "x"},
    "mentions": [{"id": "8", "username": "grace", "member": {"nick": "x"}}],
    "embeds": [{name: value for name, (value, _, _) in EMBED.items()}],
    "components": [{"type": kind, **more} for kind, (more, _, _) in COMPONENTS.items()],
    "attachments": [{"filename": "a.png", "description": "x", "title": "y", "waveform": "x"}],
    "sticker_items": [{"name": "Wave"}], "activity": {"type": 3}, "application": {"name": "Chess"},
    "poll": {"question": {"text": "x"},
             "answers": [{"answer_id": 1, "poll_media": {"text": "x", "emoji": {"name": "x"}}}],
             "results": {"answer_counts": [{"id": 1, "count": 3}]}},
    "message_reference": {"message_id": "55", "type": 1}, "role_subscription_data": {"tier_name": "x"},
    "message_snapshots": [{"message": {"content": "x", "mentions": [{"id": "8"}], "embeds": [{"title": "x"}]}}],
    "referenced_message": {"id": "5", "author": {"id": "8"}, "content": "x", "embeds": [{"title": "x"}]},
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


def all_of(message: Json) -> str:
    quote = quote_of(message, BOT, {}, str)
    least_of(message)
    return content_of(message, BOT, {}).told(LONG) + quote.text + author_name_of(message)


PLACES = places(EVERYTHING)
WRONG: list[Any] = [5, -1e400, "x", "\ud800", [], ["x"], [None], {}, {"id": 5}, {"type": []}, None, True, 10**30]


@settings(deadline=None, database=None, max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(PLACES), ANYTHING), min_size=1, max_size=3))
def test_nothing_in_place_of_anything_makes_it_fail(changes: list[tuple[list[Any], Any]]) -> None:
    for way, to in changes:
        told = all_of(changed(EVERYTHING, way, to))
        assert told.encode()
        assert "\0" not in told


@pytest.mark.parametrize("start", range(4))
def test_no_wrong_value_at_any_place_makes_it_fail(start: int) -> None:
    for number, way in enumerate(PLACES, start):
        all_of(changed(EVERYTHING, way, WRONG[number % len(WRONG)])).encode()
