"""Slack's words and ours: who says what to whom, what people read, and that no answer notifies everybody."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bots.shared.controls import COMMANDS, command_in
from bots.shared.words import LONGEST_NAME_OF_A_FILE, names_of_files
from bots.slack.content import readable
from bots.slack.words import (
    SLACKBOT,
    Incoming,
    channels_in,
    fallback,
    harmless,
    install_of,
    mentions_a_group,
    parse_message,
    people_in,
    person_id,
    place_id,
    session_id,
    shown,
    title_of,
    with_names,
)
from core import Frame, Json, Turn
from core.password import Password, Passwords

BOT, TEAM, ORG = "U0BOT", "T1", "E1"
WORD_JOINER = "\u2060"

some = settings(deadline=None, database=None, max_examples=200)


def a_body(**more: Any) -> Json:
    """What is around an event; None leaves something out."""
    body = {
        "type": "event_callback",
        "team_id": TEAM,
        "authorizations": [{"team_id": TEAM, "enterprise_id": None, "user_id": BOT, "is_enterprise_install": False}],
        "is_ext_shared_channel": False,
        **more,
    }
    return {name: value for name, value in body.items() if value is not None}


def an_event(text: str = "Hello", **more: Any) -> Json:
    """A message in a channel, unless it is said to be something else; None leaves something out."""
    event = {
        "type": "message",
        "user": "U7",
        "team": TEAM,
        "channel": "C1",
        "channel_type": "channel",
        "ts": "1712.000100",
        "text": text,
        **more,
    }
    return {name: value for name, value in event.items() if value is not None}


def said(text: str = "Hello", body: Json | None = None, **more: Any) -> Incoming:
    found = parse_message(body if body is not None else a_body(), an_event(text, **more))
    assert found is not None
    return found


def grid_body(**more: Any) -> Json:
    """What is around an event where Bob is installed in one workspace of an organisation."""
    whose = {"team_id": TEAM, "enterprise_id": ORG, "user_id": BOT, "is_enterprise_install": False}
    return a_body(authorizations=[whose], **more)


def org_body(**more: Any) -> Json:
    whose = {"team_id": TEAM, "enterprise_id": ORG, "user_id": BOT, "is_enterprise_install": True}
    return a_body(**{"enterprise_id": ORG, "authorizations": [whose], **more})


# ── what was said, and to whom ───────────────────────────────────────────────────────────────────────────────────────


def test_a_mention_in_a_channel_is_a_question_in_a_thread_of_its_own() -> None:
    found = said(f"<@{BOT}> What is new?")
    assert found.text == "What is new?"
    assert (found.key, found.thread) == ("T1:C1:1712.000100", "1712.000100")
    assert (found.session, found.place, found.person) == ("slack:T1:C1:1712.000100", "slack:T1:C1", "slack:T1:U7")
    assert found.mentions_us
    assert found.is_addressed
    assert not found.is_follow_up


@pytest.mark.parametrize("thread", [None, "1700.000001"])
@pytest.mark.parametrize("channel_type", ["channel", "group", "mpim"])
@pytest.mark.parametrize("left_out", [{}, {"team": None}, {"user_team": TEAM}])
def test_both_events_of_a_mention_are_one_message(channel_type: str, thread: str | None, left_out: Json) -> None:
    text = f"<@{BOT}> What is new?"
    message = said(text, channel_type=channel_type, thread_ts=thread, client_msg_id="0-1")
    mention = said(text, type="app_mention", channel_type=None, thread_ts=thread, **left_out)
    for name in ("key", "session", "place", "person", "text", "thread", "is_addressed", "is_stranger"):
        assert getattr(message, name) == getattr(mention, name)
    assert message.key == mention.key


def test_different_messages_have_different_keys() -> None:
    others = [
        said(),
        said(ts="1712.000200"),
        said(channel="C2"),
        said(body=a_body(authorizations=[{"team_id": "T2", "user_id": BOT}])),
    ]
    assert len({each.key for each in others}) == 4


@pytest.mark.parametrize("kind", ["app_mention", "message"])
@pytest.mark.parametrize("thread", [None, "1700.000001"])
def test_a_message_in_a_thread_belongs_to_its_threads_session(kind: str, thread: str | None) -> None:
    found = said(f"<@{BOT}> Hello", type=kind, thread_ts=thread)
    assert found.session == session_id(TEAM, "C1", thread or "1712.000100")
    assert found.thread == (thread or found.ts)


@pytest.mark.parametrize("subtype", [None, "file_share", "thread_broadcast", "me_message"])
def test_what_people_say_is_heard(subtype: str | None) -> None:
    assert said("Hello", subtype=subtype).text == "Hello"


@pytest.mark.parametrize(
    "subtype",
    [
        *("message_changed", "message_deleted", "message_replied", "bot_message", "channel_join", "channel_leave"),
        *("channel_topic", "channel_name", "group_join", "pinned_item", "reminder_add", "assistant_app_thread"),
        *("ekm_access_denied", "tombstone", "huddle_thread"),
    ],
)
def test_what_slack_itself_says_is_not_heard(subtype: str) -> None:
    assert parse_message(a_body(), an_event(f"<@{BOT}> Hello", subtype=subtype)) is None


@pytest.mark.parametrize("more", [{"text": f"<@{BOT}> Hello"}, {"channel": "D1", "channel_type": "im"}])
def test_a_message_of_a_kind_that_is_new_is_heard_where_it_is_meant_for_us_and_is_named(more: Json) -> None:
    found = said(**{"text": "Hello", "subtype": "telepathy", **more})
    assert found.text == "Hello"
    assert found.files == ("a message of the kind “telepathy”",)
    assert parse_message(a_body(), an_event("Hello", subtype="telepathy", thread_ts="1700.1")) is None


@pytest.mark.parametrize(
    "whose",
    [
        {"user": BOT},
        {"user": BOT, "bot_id": "B0"},
        {"bot_id": "B1"},
        {"user": "U9", "bot_id": "B1", "bot_profile": {"id": "B1"}},
        {"user": "U9", "bot_profile": {"id": "B1"}},
        {"user": SLACKBOT},
        {"user": None},
        {"user": ""},
    ],
)
@pytest.mark.parametrize("kind", ["app_mention", "message"])
def test_nobody_but_people_is_heard(kind: str, whose: Json) -> None:
    assert parse_message(a_body(), an_event(f"<@{BOT}> Hello", type=kind, **whose)) is None


@pytest.mark.parametrize("left_out", ["channel", "ts", "user"])
def test_an_event_that_does_not_say_who_when_or_where_is_not_heard(left_out: str) -> None:
    event = an_event()
    del event[left_out]
    assert parse_message(a_body(), event) is None


@pytest.mark.parametrize(
    ("channel_type", "text", "kind", "addressed"),
    [
        ("im", "Hello", "im", True),
        ("im", f"<@{BOT}> Hello", "im", True),
        ("mpim", "Hello", "mpim", False),
        ("mpim", f"<@{BOT}> Hello", "mpim", True),
        ("channel", "Hello", "channel", False),
        ("channel", f"Hello <@{BOT}>", "channel", True),
        ("group", "Hello", "channel", False),
        ("group", f"<@{BOT}|bob> Hello", "channel", True),
        (None, "Hello", "channel", False),
        ("channel", f"&lt;@{BOT}&gt; Hello", "channel", False),
        ("channel", f"<@{BOT}X> Hello", "channel", False),
        ("channel", "<!here> Hello", "channel", False),
    ],
)
def test_a_direct_message_and_a_mention_are_meant_for_us(
    channel_type: str | None, text: str, kind: str, addressed: bool
) -> None:
    found = said(text, channel_type=channel_type)
    assert (found.kind, found.is_addressed) == (kind, addressed)


def test_an_event_that_is_a_mention_is_meant_for_us_even_if_the_mention_cannot_be_found() -> None:
    assert said("Hello", body=a_body(authorizations=None), type="app_mention", channel_type=None).is_addressed


@pytest.mark.parametrize(
    ("text", "thread", "follows_up"),
    [
        ("And then?", "1700.000001", True),
        (f"<@{BOT}> And then?", "1700.000001", True),
        ("What does <@U8> say?", "1700.000001", True),
        ("<@U8> What do you say?", "1700.000001", False),
        ("  <@W8|eve> What do you say?", "1700.000001", False),
        (f"<@U8> <@{BOT}> What do you say?", "1700.000001", False),
        ("<!here> What do you say?", "1700.000001", False),
        ("<!subteam^S1|@team> What do you say?", "1700.000001", False),
        ("<https://example.com> What is that?", "1700.000001", True),
        ("<#C2|general> What is that?", "1700.000001", True),
        ("&lt;@U8&gt; is an id", "1700.000001", True),
        ("And then?", None, False),
        ("And then?", "1712.000100", False),
    ],
)
def test_only_a_message_in_a_thread_that_does_not_open_with_somebody_else_may_follow_up(
    text: str, thread: str | None, follows_up: bool
) -> None:
    assert said(text, thread_ts=thread).is_follow_up is follows_up


@pytest.mark.parametrize(
    ("text", "heard"),
    [
        (f"<@{BOT}> Hello", "Hello"),
        (f"<@{BOT}>Hello", "Hello"),
        (f"  <@{BOT}>,  Hello", "Hello"),
        (f"<@{BOT}>: Hello", "Hello"),
        (f"<@{BOT}|bob> Hello", "Hello"),
        (f"<@{BOT}> <@{BOT}> Hello", "Hello"),
        (f"<@{BOT}>\nHello\nthere", "Hello\nthere"),
        (f"Hello <@{BOT}>", "Hello @Bob"),
        (f"Is <@{BOT}> here?", "Is @Bob here?"),
        (f"<@{BOT}> ask <@U8>", "ask <@U8>"),
        (f"<@U8> ask <@{BOT}>", "<@U8> ask @Bob"),
        (f"<@{BOT}>", ""),
        (f"<@{BOT}>  ", ""),
        ("", ""),
        ("  Hello  ", "Hello"),
        ("a &lt; b &amp;&amp; c &gt; d", "a < b && c > d"),
    ],
)
def test_our_own_mention_is_taken_off_its_beginning_and_nobody_elses(text: str, heard: str) -> None:
    assert said(text).text == heard


def test_a_message_without_a_text_is_heard() -> None:
    assert parse_message(a_body(), {**an_event(), "text": None}) is not None
    assert said("", subtype="file_share", files=[{"name": "a.pdf"}]).text == ""


def test_what_is_needed_to_answer_can_be_stored() -> None:
    reply_to = said("Hello", thread_ts="1700.1", files=[{"title": "A"}]).destination
    assert json.loads(json.dumps(reply_to)) == reply_to
    assert reply_to == {
        "install": TEAM, "team": TEAM, "bot": BOT, "user": "U7", "channel": "C1", "user_team": TEAM, "stranger": False,
        "kind": "channel", "ts": "1712.000100", "thread": "1700.1", "addressed": False,
        "shown": "",
    }  # fmt: skip


# ── whose workspace it is ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("missing", [{"team": None}, {"team": None, "user_team": None}])
def test_the_workspace_is_known_although_the_event_does_not_tell(missing: Json) -> None:
    found = said(f"<@{BOT}> Hello", **missing)
    assert (found.install, found.team, found.user_team, found.is_stranger) == (TEAM, TEAM, TEAM, False)


@pytest.mark.parametrize("authorizations", [None, []])
def test_the_workspace_is_known_without_an_authorization(authorizations: list[Json] | None) -> None:
    body = a_body(authorizations=authorizations)
    assert install_of(body) == TEAM
    assert said(f"<@{BOT}> Hello", body).bot == ""


def test_an_installation_in_an_organisation_is_one_whatever_the_workspace() -> None:
    here = said(body=org_body())
    there = said(body=org_body(team_id="T2"), team="T2")
    assert here.install == there.install == ORG
    assert here.session == there.session == "slack:E1:C1:1712.000100"
    assert here.key == there.key
    assert (here.user_team, there.user_team) == ("T1", "T2")


@pytest.mark.parametrize(
    ("body", "install"),
    [
        ({"team_id": TEAM, "enterprise_id": ORG}, TEAM),
        ({"team_id": TEAM, "enterprise_id": ORG, "is_enterprise_install": "false"}, TEAM),
        ({"team_id": TEAM, "enterprise_id": ORG, "is_enterprise_install": "true"}, ORG),
        ({"team": {"id": TEAM}, "enterprise": None, "is_enterprise_install": False}, TEAM),
        ({"team": {"id": TEAM}, "enterprise": {"id": ORG}, "is_enterprise_install": False}, TEAM),
        ({"team": {"id": TEAM}, "enterprise": {"id": ORG}, "is_enterprise_install": True}, ORG),
        ({"team": None, "enterprise": {"id": ORG}, "is_enterprise_install": True}, ORG),
        ({"team": None, "enterprise": {"id": ORG}}, ORG),
    ],
)
def test_a_command_a_button_and_a_window_come_from_the_same_installation_as_a_message(body: Json, install: str) -> None:
    assert install_of(body) == install


STRANGERS = [
    # who, where, and whether it is a stranger
    ({"team": TEAM}, a_body(), False),
    ({"team": TEAM, "user_team": TEAM, "source_team": TEAM}, a_body(is_ext_shared_channel=True), False),
    ({"team": None}, a_body(), False),
    ({"team": "T9"}, a_body(is_ext_shared_channel=True), True),
    ({"team": "T9", "user_team": "T9", "source_team": "T9"}, a_body(is_ext_shared_channel=True), True),
    ({"team": TEAM, "user_team": "T9"}, a_body(is_ext_shared_channel=True), True),
    ({"team": TEAM, "source_team": "T9"}, a_body(is_ext_shared_channel=True), False),  # in a partner's channel
    ({"team": None, "source_team": "T9"}, a_body(is_ext_shared_channel=True), True),
    ({"team": "T2", "user_team": "T2"}, a_body(enterprise_id=ORG), False),
    ({"team": "T2", "user_team": "T2"}, grid_body(), False),
    ({"team": "T2", "user_team": ORG}, grid_body(is_ext_shared_channel=True), False),
    ({"team": "T2", "user_team": "T2"}, grid_body(is_ext_shared_channel=None), True),
    ({"team": "T9", "user_team": "T9"}, a_body(), True),
    ({"team": TEAM, "user_team": "T9"}, a_body(is_ext_shared_channel=None), True),
    ({"team": "T9", "user_team": "E9"}, a_body(is_ext_shared_channel=True), True),
    # An event's outer workspace is whichever has begun the channel.
    ({"team": TEAM}, a_body(team_id="T9", enterprise_id="E9", is_ext_shared_channel=True), False),
    ({"team": "T9"}, a_body(team_id="T9", is_ext_shared_channel=True), True),
    ({"team": "T9", "user_team": "T9"}, a_body(team_id="T9", enterprise_id="E9", is_ext_shared_channel=True), True),
    ({"team": "T9", "user_team": "T9"}, org_body(team_id="T9", enterprise_id="E9", is_ext_shared_channel=True), True),
    ({"team": TEAM}, org_body(), False),
    ({"team": "T2", "user_team": "T2"}, org_body(), False),
    ({"team": TEAM, "user_team": TEAM}, org_body(is_ext_shared_channel=True), False),
    ({"team": TEAM, "user_team": ORG}, org_body(is_ext_shared_channel=True), False),
    ({"team": "T9", "user_team": "T9"}, org_body(is_ext_shared_channel=True), True),
]


@pytest.mark.parametrize(("who", "body", "stranger"), STRANGERS)
@pytest.mark.parametrize("kind", ["app_mention", "message"])
def test_who_belongs_to_another_company_is_a_stranger(who: Json, body: Json, stranger: bool, kind: str) -> None:
    found = said(f"<@{BOT}> Hello", body, type=kind, **who)
    assert found.is_stranger is stranger
    assert found.destination["stranger"] is stranger


def test_a_stranger_reads_the_answer_in_the_workspace_of_their_own() -> None:
    body = a_body(is_ext_shared_channel=True)
    assert said("Hello", body, team=TEAM, user_team="T9", source_team="T8").user_team == "T9"
    assert said("Hello", body, team=None, source_team="T8").user_team == "T8"
    assert said("Hello", body, team="T7").user_team == "T7"


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ({"title": "Plan", "name": "plan.pdf"}, "Plan (plan.pdf)"),
        ({"title": "plan.pdf", "name": "plan.pdf"}, "plan.pdf"),
        ({"title": "", "name": "plan.pdf"}, "plan.pdf"),
        ({"name": "plan.pdf"}, "plan.pdf"),
        ({"file_access": "check_file_info"}, "a file without a name"),
        ({"title": "*a*_b_`c`~d~<!here>|e\nf"}, "a b c d !here e f"),
        ({"title": "a" * 500}, "a" * 500),
    ],
)
def test_a_file_is_known_by_its_name_without_anything_that_is_markup(file: Json, name: str) -> None:
    assert said("Look", subtype="file_share", files=[file]).files == (name,)
    to_be_fetched = said("Look", subtype="file_share", files=[{**file, "id": "F1"}])
    assert to_be_fetched.destination["files"] == [{"id": "F1", "name": name[:200], "preview": ""}]
    assert to_be_fetched.files == ()


def a_turn(**destination: Any) -> Turn:
    return Turn(
        id="0" * 32, session_id=1, session="slack:T1:C1:1", number=1, surface="slack", event_id=None, person=None,
        question="Hello", assistant="Bob", private=False, fencing_token=1, destination={"bot": BOT, **destination},
    )  # fmt: skip


def test_an_answer_says_first_which_files_were_not_read() -> None:
    turn = replace(a_turn(), frame=Frame("Ada", ["Plan", "Picture"]))
    unread = "_I have not seen: Plan, Picture_\n\n"
    assert shown(turn, "Hello", whole=True) == f"{unread}Hello"
    assert shown(turn, "Hel", whole=False) == f"{unread}Hel"


def test_an_answer_says_first_who_answers_where_that_is_private_or_not_private_any_more() -> None:
    private = replace(a_turn(), assistant="Private-Bob", private=True, circle="PRIVATE_BOB_PASSWORD")
    assert shown(private, "Hello", whole=True) == "🔒 _Private-Bob_\n\nHello"
    lapsed = replace(a_turn(), lapsed="Private-Bob")
    assert shown(lapsed, "Hel", whole=False) == "_Private-Bob is locked again here, so this is answered by Bob._\n\nHel"


def test_nothing_is_said_about_files_before_there_is_an_answer_or_where_there_are_none() -> None:
    turn = replace(a_turn(), frame=Frame("Ada", ["Plan"]))
    assert shown(turn, "", whole=False) == ""
    assert shown(turn, "<!ch", whole=False) == ""
    assert shown(a_turn(), "Hello", whole=True) == "Hello"


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("text", "seen"),
    [
        (f"I am <@{BOT}>.", "I am Bob."),
        (f"<@{BOT}|bob> here", "Bob here"),
        (f"<@{BOT}>", "Bob"),
        ("Ask <@U8>.", "Ask <@U8>."),
        (f"Ask <@{BOT}X>.", f"Ask <@{BOT}X>."),
    ],
)
def test_an_answer_mentions_others_but_never_us(text: str, seen: str, whole: bool) -> None:
    assert shown(a_turn(), text, whole=whole) == seen


def test_an_answer_is_shown_although_nobody_knows_who_we_are() -> None:
    assert shown(a_turn(bot=""), "Ask <@U8>.", whole=True) == "Ask <@U8>."


# ── what people read ─────────────────────────────────────────────────────────────────────────────────────────────────

READABLE = [
    ("Hello", "Hello"),
    ("", ""),
    ("<@U1> and <@W2|eve>", "<@U1> and <@W2>"),
    ("<#C1|general>", "#general"),
    ("<#C1>", "<#C1>"),
    ("<#C1|>", "<#C1>"),
    ("<https://example.com>", "https://example.com"),
    ("<https://example.com|Example>", "Example (https://example.com)"),
    ("<https://example.com|example.com>", "https://example.com"),
    ("<http://example.com/|example.com>", "http://example.com/"),
    ("<https://example.com/a|https://example.com/a>", "https://example.com/a"),
    ("<https://example.com/?a=1&amp;b=2>", "https://example.com/?a=1&b=2"),
    ("<https://example.com/a|b&lt;c>", "b<c (https://example.com/a)"),
    ("<mailto:eve@example.com|eve@example.com>", "eve@example.com"),
    ("<mailto:eve@example.com|Eve>", "Eve (eve@example.com)"),
    ("<tel:+4912345|+49 123 45>", "+49 123 45 (+4912345)"),
    ("<tel:973808|973808>", "973808"),
    ("<!here>", "@here"),
    ("<!channel>", "@channel"),
    ("<!everyone>", "@everyone"),
    ("<!here|here>", "here"),
    ("<!subteam^S1|@team>", "@team"),
    ("<!subteam^S1>", "<!subteam^S1>"),
    ("<!date^0^{date}>", "Thursday, 1 January 1970, 00:00 UTC"),
    ("<!date^1392734382^{date}|Feb 18, 2014>", "Feb 18, 2014"),
    ("a &lt; b &amp;&amp; b &gt; c", "a < b && b > c"),
    ("&amp;lt;b&amp;gt;", "&lt;b&gt;"),
    ("&amp;amp;", "&amp;"),
    ("&lt;https://example.com|x&gt;", "<https://example.com|x>"),
    ("&lt;!channel&gt;", "<!channel>"),
    ("if a < b:", "if a < b:"),
    ("<>", "<>"),
    ("*bold* _it_ `code`", "*bold* _it_ `code`"),
    ("one\n<https://example.com|two>\nthree", "one\ntwo (https://example.com)\nthree"),
    (":wave: <@U1>: see <#C1|general>", ":wave: <@U1>: see #general"),
]


def test_names_of_files_are_cut_once_they_are_masked() -> None:
    passwords = Passwords([Password("482913", "Private-Bob", name="PRIVATE_BOB_PASSWORD")])
    name = "a" * (LONGEST_NAME_OF_A_FILE - 4) + " 482913"
    assert names_of_files([name], passwords.masked) == ["a" * (LONGEST_NAME_OF_A_FILE - 4) + " •••"]


@pytest.mark.parametrize(("raw", "read"), READABLE)
def test_markup_is_read_as_people_see_it(raw: str, read: str) -> None:
    assert readable(raw) == read


@pytest.mark.parametrize(
    "raw", ["<tel:973808|973808>", "<tel:973808>", "973808", "<@U0BOT> <tel:973808|973808> hello", "*973808*"]
)
def test_a_password_that_slack_takes_for_a_telephone_number_is_a_word_again(raw: str) -> None:
    passwords = Passwords([Password("973808", "Private-Bob", name="PRIVATE_BOB_PASSWORD")])
    assert passwords.read(said(raw).text).opens == "Private-Bob"


@given(text=st.text(max_size=60))
@example("&lt;")
@some
def test_what_people_type_is_read_as_they_typed_it(text: str) -> None:
    typed = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert readable(typed) == text


def test_people_channels_and_groups_are_found_and_named() -> None:
    text = "<@U1> told <@W2|eve> and <@U1>, but not @U3, <@B1> or <!subteam^S1>, in <#C1> and <#C2>"
    assert people_in(text) == ["U1", "W2"]
    assert channels_in(text) == ["C1", "C2"]
    assert mentions_a_group(text)
    assert not mentions_a_group("@S1")
    names = {"U1": "Ann", "W2": "Eve", "C1": "plans", "S1": "engineers"}
    named = "@Ann told @Eve and @Ann, but not @U3, <@B1> or @engineers, in #plans and #channel"
    assert with_names(text, names) == named
    assert with_names("<@U9> <!subteam^S9>", {}) == "@U9 @group"


def test_a_name_is_taken_as_it_is() -> None:
    assert with_names("<@U1>", {"U1": r"\1 <@U2>"}) == r"@\1 <@U2>"


def test_ids_name_the_surface_and_the_installation() -> None:
    assert session_id("T1", "C1", "1.2") == "slack:T1:C1:1.2"
    assert place_id("T1", "C1") == "slack:T1:C1"
    assert person_id("T1", "U1") == "slack:T1:U1"


# ── what nobody is notified by ───────────────────────────────────────────────────────────────────────────────────────

LOUD = re.compile(r"<!(?:channel|here|everyone|subteam\^[a-z0-9]+)(?:[^a-z0-9<>\n][^<>\n]*)?>", re.IGNORECASE)

BROADCASTS = [
    ("<!channel>", "@{}channel"),
    ("<!here>", "@{}here"),
    ("<!everyone>", "@{}everyone"),
    ("<!subteam^S012AB>", "@{}subteam"),
    ("<!channel|channel>", "@{}channel"),
    ("<!here|@here>", "@{}here"),
    ("<!everyone|all of you>", "@{}all of you"),
    ("<!subteam^S012AB|@team>", "@{}team"),
    ("<!CHANNEL>", "@{}CHANNEL"),
    ("<!Here>", "@{}Here"),
    ("<!here|>", "@{}here"),
    ("<!here", "@{}here"),
    ("<!channel|chan", "@{}chan"),
]


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(("loud", "quiet"), [each for each in BROADCASTS if each[0].endswith(">")])
def test_a_mention_of_everybody_becomes_plain_words(loud: str, quiet: str, whole: bool) -> None:
    quiet = quiet.format(WORD_JOINER)
    assert harmless(f"So, {loud} listen: {loud}", whole=whole) == f"So, {quiet} listen: {quiet}"
    assert harmless(f"``\n\n<{loud}>", whole=whole) == f"``\n\n<{quiet}>"


IN_CODE = ["`{}`", "``a ` {}``", "a `b\nc {} d` e", "```\n{}\n```", "~~~\n{}\n~~~", "> ```\n> {}\n> ```", "```py\n{}"]


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("code", IN_CODE)
@pytest.mark.parametrize("loud", [each for each, _ in BROADCASTS if each.endswith(">")])
def test_one_in_code_has_nothing_that_cannot_be_seen(loud: str, code: str, whole: bool) -> None:
    text = code.format(loud)
    text += " and" if code.endswith("`") and not code.endswith("```") else ""
    assert harmless(text, whole=whole) == text.replace("<!", "<! ")
    assert not LOUD.search(harmless(text, whole=whole))


@pytest.mark.parametrize(("text", "shown_of_it"), [("So, `<!here> a", "So, `"), ("```<!here>", "```")])
def test_what_may_become_code_waits_until_it_is_sure(text: str, shown_of_it: str) -> None:
    assert harmless(text, whole=False) == shown_of_it
    assert harmless(f"{text}\n\n", whole=False).startswith(shown_of_it + f"@{WORD_JOINER}here")
    assert harmless(f"{text}`", whole=False).startswith(shown_of_it)


@pytest.mark.parametrize(("loud", "quiet"), [each for each in BROADCASTS if not each[0].endswith(">")])
def test_so_does_one_that_an_answer_breaks_off_in(loud: str, quiet: str) -> None:
    assert harmless(f"So, {loud}", whole=True) == f"So, {quiet.format(WORD_JOINER)}"


@pytest.mark.parametrize(
    "loud",
    ["<!here|<!channel>", "<!channel<!here>>", "<<!here>>", "<!<!here>>", "<!here|a><!here|b>", "<!chan<!here>nel>"],
)
def test_a_mention_of_everybody_within_another_is_found_too(loud: str) -> None:
    for whole in (True, False):
        assert not LOUD.search(harmless(loud, whole=whole))


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        "<!DOCTYPE html>",
        "<!doctype html>\n<html>",
        "<!-- a comment -->",
        "<!--[if IE]> x <![endif]-->",
        "<![CDATA[ x ]]>",
        "<!ELEMENT note (to,from)>",
        "<!date^1392734382^{date} at {time}|Feb 18>",
        "a < b and b > a",
        "a <! b > c",
        "x <- y, 1 << 2, vector<int>",
        "<@U8> and <#C1|general>",
        "email me @here or @channel",
        "!here and !channel",
        "<https://example.com|!here>",
        "<!-- " + "long " * 40 + "-->",
    ],
)
def test_what_only_looks_like_it_is_left_as_it_is(text: str, whole: bool) -> None:
    assert harmless(text, whole=whole) == text


@pytest.mark.parametrize("end", ["<", "<!", "<!h", "<!here"[:-1], "<!subteam^", "<!-", "<!DOCTYPE", "<@", "<@U1"])
def test_an_end_that_may_become_a_mention_waits(end: str) -> None:
    assert harmless(f"So, {end}", whole=False) == "So, "
    assert harmless(f"So, {end}", whole=True) == f"So, {end}"


def test_an_end_that_is_too_long_for_a_mention_does_not_wait_for_ever() -> None:
    assert harmless("<!-- " + "x" * 200, whole=False) == "<!-- " + "x" * 200


def steps_of(text: str, turn: Turn | None = None) -> list[str]:
    """What is shown while a text grows letter by letter, and then of the whole of it."""
    prefixes = [text[:length] for length in range(len(text) + 1)]
    if turn is None:
        return [*(harmless(prefix, whole=False) for prefix in prefixes), harmless(text, whole=True)]
    return [*(shown(turn, prefix, whole=False) for prefix in prefixes), shown(turn, text, whole=True)]


def taken_back(steps: list[str]) -> list[tuple[str, str]]:
    return [(before, later) for before, later in pairwise(steps) if not later.startswith(before)]


CALM = (
    *("<!here", "<!channel>", "<!EVERYONE>", "<!subteam^S1>", "<!DOCTYPE html>", "<", ">", "x", " ", "<@U1>"),
    f"<@{BOT}>",
)
PIECES = (
    *CALM,
    *("`", "```", "``", "```\n", "\n\n", "- "),
    *("<!", "<!--", "-->", "!", "|", "|@team>", "|x>", "<!subteam^S1|", "<!here|", "<!Channel|a b>", "\n", "@", "here"),
)
TEXTS = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)
CALM_TEXTS = st.lists(st.sampled_from(CALM), max_size=14).map("".join)


@given(text=TEXTS)
@example(text="`<!here>```")
@example(text="<!DOCTYPE html><!-- <!here> --><!date^1^{date}>")
@some
def test_nothing_that_is_shown_while_an_answer_grows_notifies_everybody(text: str) -> None:
    assert not any(LOUD.search(step) for step in steps_of(text))
    assert not any(LOUD.search(step) for step in steps_of(text, a_turn(files=["Plan"])))


@given(text=CALM_TEXTS)
@some
def test_nothing_that_is_shown_while_an_answer_grows_is_taken_back(text: str) -> None:
    assert taken_back(steps_of(text)) == []
    assert taken_back(steps_of(text, a_turn(files=["Plan"]))) == []


@pytest.mark.parametrize(
    "text",
    [
        "So, <!here> and <!channel>, <!everyone>: <!subteam^S012AB>",
        f"I am <@{BOT}>, ask <@U8> or <@U9|eve>, not <@{BOT}|bob>.",
        "```html\n<!DOCTYPE html><b>\n```\n",
        "if a < b: c <- d",
        "<!-- x -->\n<!date^1392734382^{date}|Feb 18>",
    ],
)
def test_an_answer_only_ever_grows(text: str) -> None:
    assert taken_back(steps_of(text)) == []
    assert taken_back(steps_of(text, a_turn(files=["Plan"]))) == []


@given(text=TEXTS)
@example(text="`<!here>```")
@example(text="`<!here\n <!here<!here")
@some
def test_nothing_at_all_that_is_shown_while_an_answer_grows_is_taken_back(text: str) -> None:
    assert taken_back(steps_of(text)) == []
    assert taken_back(steps_of(text, a_turn(files=["Plan"]))) == []


@pytest.mark.parametrize(
    "text",
    [
        "<!subteam^S012AB|@team> listen",
        "<!channel|all of you> listen",
        "if a <\n  b",
        "<!--\na comment in HTML\n-->",
        "<!-- <!here> -->",
    ],
)
def test_a_label_a_lines_end_and_a_mention_in_a_comment_take_nothing_back(text: str) -> None:
    assert taken_back(steps_of(text)) == []


# ── notifications and titles ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Hello", "Hello"),
        ("**Hello** _you_", "Hello you"),
        ("# A title\n\n> quoted `code`", "A title\n\nquoted code"),
        ("```py\nx\n```", "x"),
        ("~~old~~ | new", "old | new"),
        ("set max_open_files=2*3 and 2*3*4", "set max_open_files=2*3 and 2*3*4"),
        ("call __init__ or `a_*b*_c`", "call init or a_*b*_c"),
        ("see [the *handbook*](https://x.org/a_b)!", "see the handbook!"),
        ("| a | **b** |\n|---|---|\n| 1 | `x` |", "a b\n1 x"),
        ("- [ ] a\n---\n> b &amp; c \\* d", "- [ ] a\nb &amp; c * d"),
        ("`<!channel>`, <@U8> & a < b", "&lt;!channel&gt;, <@U8> &amp; a &lt; b"),
        ("", "…"),
        ("***\n\n---"[:3], "…"),
        ("a" * 5_000, "a" * 300),
    ],
)
def test_a_notification_is_short_and_plain_and_never_empty(text: str, plain: str) -> None:
    assert fallback(text) == plain


@given(text=st.lists(st.sampled_from((*PIECES, "*", "_", "#", "~")), max_size=14).map("".join))
@some
def test_a_notification_notifies_nobody_else(text: str) -> None:
    assert not LOUD.search(fallback(harmless(text, whole=True)))
    assert 0 < len(fallback(text)) <= 300


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("What is new?", "What is new?"),
        ("  What   is\tnew?  ", "What is new?"),
        ("\n\nWhat is new?\nTell me.", "What is new?"),
        ("", ""),
        ("a" * 80, "a" * 80),
        ("a" * 81, "a" * 79 + "…"),
        ("word " * 40, "word " * 15 + "word…"),
    ],
)
def test_a_title_is_the_first_line_of_the_first_question(question: str, title: str) -> None:
    assert title_of(question) == title
    assert len(title_of(question)) <= 80


# ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("form", ["{}", " {} ", "!{}", "/{}", "{}.", "{}!", "!{}!", "! {}", "{}\n", "/{}!!"])
@pytest.mark.parametrize("case", [str.lower, str.upper, str.title])
def test_a_whole_message_that_is_a_commands_word_is_the_command(command: str, form: str, case: Any) -> None:
    assert command_in(form.format(case(command))) == (command, "")


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("assistant Eve", "Eve"),
        ("!assistant eve", "eve"),
        ("Assistant   Private-Bob.", "Private-Bob"),
        ("ASSISTANT gpt-4.1!", "gpt-4.1"),
        ("assistant\nEve", "Eve"),
    ],
)
def test_an_assistant_is_chosen_by_its_name(text: str, about: str) -> None:
    assert command_in(text) == ("assistant", about)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "!", "/", "...", "!/.", "hello", "resets", "unstop", "helper", "re set", "model", "unlock", "lock"),
        *("stop it", "stop, please", "stop doing that", "reset the password", "Reset my counter to zero", "help me"),
        *("help wanted", "Help! I am lost", "assistant, please", "assistant Eve please", "assistant professor of law"),
        *("please stop", "how do I reset", "can you help", "stop?", "help?", "reset…", "(stop)", "`stop`", "*reset*"),
        *("stop stop", "stop\nreset", "@Bob stop", "non-stop", "/bob help", "halt"),
    ],
)
def test_what_merely_has_such_a_word_is_no_command(text: str) -> None:
    assert command_in(text) is None


def test_a_command_is_found_behind_our_mention() -> None:
    assert command_in(said(f"<@{BOT}> reset").text) == ("reset", "")
    assert command_in(said(f"<@{BOT}>: Assistant Eve!").text) == ("assistant", "Eve")
