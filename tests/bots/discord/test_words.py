"""Discord's words and ours: what a message asks, whose conversation it is, and how an answer reads on Discord."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from bots.discord.incoming import Speaker
from bots.discord.markdown import WIDEST_TABLE, discord_markdown
from bots.discord.prepare import ANOTHER_PLACE, NOT_ON_THE_LIST, Allowed
from bots.discord.words import (
    LONGEST_TITLE,
    MOST_PARTS,
    PARTS_WITHOUT_A_FILE,
    THE_REST_IS_IN_THE_FILE,
    Here,
    Kind,
    named,
    opens_with,
    parts_of,
    person_id,
    readable,
    shown,
    title_of,
    wants_a_file,
)
from bots.shared.words import LONGEST_NAME_OF_A_FILE, names_of_files
from core import Frame, Turn
from core.password import Password, Passwords
from tests.bots.shared.test_pages import ANYTHING, documents, is_closed

BOT = 77
DISCORD_TAKES = 2_000  # characters of a message, counted in UTF-16
NAMES = {5: "Grace", 6: "engineers", 7: "general"}

some = settings(deadline=None, database=None, max_examples=60)


def units(text: str) -> int:
    """How long Discord takes a text to be, at the most."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def a_turn(question: str = "What is new?", *, private: bool = False, said_password: bool = False, **to: Any) -> Turn:
    return Turn(
        id="a" * 32, session_id=1, session="discord:dm:1", number=1, surface="discord", event_id="1", person=None,
        question=question, assistant="Bob", private=private, fencing_token=1, destination=to,
        said_password=said_password,
    )  # fmt: skip


# ── an answer as messages ────────────────────────────────────────────────────────────────────────────────────────────

EMOJI = ("👋", "👩‍👩‍👧", "😀", "🇩🇪", "é", "你")
DECORATED = (
    "{}",
    "**{}**",
    "_{}_",
    "`{}`",
    "[{}](https://example.org/a_b)",
    "![{}](https://example.org/i.png)",
    "{}👋🏽",
)
FENCES = ("```", "````", "~~~")


class Counter:
    """Gives each word of a document a number, so that it can be found again."""

    def __init__(self) -> None:
        self.last = 0

    def word(self) -> str:
        self.last += 1
        return f"w{self.last}w"


def words_in(*texts: str) -> list[str]:
    return [word for text in texts for word in re.findall(r"w\d+w", text)]


@st.composite
def numbered(draw: st.DrawFn, *, tables: bool = True, most: int = 12) -> str:
    """A document as models write them, each word of which is there once."""
    count = Counter()

    def words(number: int) -> str:
        style = draw(st.sampled_from(DECORATED))
        emoji = draw(st.sampled_from(("", *EMOJI)))
        return " ".join([style.format(count.word()), *(count.word() + emoji for _ in range(number))])

    def code() -> str:
        fence, language = draw(st.sampled_from(FENCES)), draw(st.sampled_from(("", "py", "c++")))
        inner = [f"{count.word()} = '👋' | x" for _ in range(draw(st.sampled_from((0, 3, 150))))]
        return "\n".join([fence + language, *inner, fence])

    def table() -> str:
        cell = draw(st.sampled_from(("{}", "**{}**", "`{}`", "{} 👋", "{} \\| x", "x" * 60 + " {}")))
        rows = draw(st.sampled_from((0, 2, 60)))
        lines = ["| " + " | ".join(cell.format(count.word()) for _ in range(3)) + " |" for _ in range(rows + 1)]
        return "\n".join([lines[0], "|---|:-:|--:|", *lines[1:]])

    def block() -> str:
        kind = draw(st.sampled_from(("text", "long", "list", "head", "code", *(["table"] if tables else []))))
        if kind == "code":
            return code()
        if kind == "table":
            return table()
        if kind == "head":
            return f"{'#' * draw(st.integers(1, 6))} {count.word()} {count.word()}"
        if kind == "list":
            return "\n".join(f"- {words(4)}" for _ in range(draw(st.sampled_from((1, 40)))))
        return words(700 if kind == "long" else draw(st.integers(0, 90)))

    return "\n\n".join(block() for _ in range(draw(st.integers(1, most))))


@given(text=numbered())
@some
def test_messages_fit_are_well_formed_and_hold_every_word_once_and_in_order(text: str) -> None:
    parts = parts_of(text, most=10_000)
    assert all(units(part) <= DISCORD_TAKES for part in parts)
    assert all(is_closed(part) for part in parts)
    assert words_in(*parts) == words_in(text)


@given(text=numbered())
@some
def test_of_more_messages_than_may_be_the_rest_is_left_out_and_that_is_said(text: str) -> None:
    everything = parts_of(text, most=10_000)
    for most in (1, 3, MOST_PARTS):
        parts = parts_of(text, most=most)
        assert all(units(part) <= DISCORD_TAKES and is_closed(part) for part in parts)
        assert words_in(*parts) == words_in(text)[: len(words_in(*parts))]
        if len(everything) <= most:
            assert parts == everything
        else:
            assert len(parts) == most
            assert parts[:-1] == everything[: most - 1]
            assert parts[-1].endswith(THE_REST_IS_IN_THE_FILE)
            assert wants_a_file(parts), "the file that is spoken of has to be there"


@given(text=ANYTHING)
@example(text="")
@example(text=" \n \n")
@example(text="👋" * 1_001)
@example(text="a" + "👋" * 4_000)
@example(text="```\n" + "👋" * 4_000)
@example(text="\ud83d alone")
@example(text="a" * 40_000)
@some
def test_whatever_a_model_writes_makes_messages_that_discord_takes(text: str) -> None:
    for part in parts_of(text):
        assert part.strip()
        assert units(part) <= DISCORD_TAKES
        part.encode()


@given(text=st.text(alphabet="👋😀ab", min_size=1, max_size=9_000))
@example(text="👋" * 5_000)
@settings(deadline=None, database=None, max_examples=20)
def test_no_emoji_is_torn_apart(text: str) -> None:
    assert "".join(parts_of(text)) == text


@given(text=numbered(tables=False).filter(lambda text: "](" not in text), share=st.floats(0.1, 0.95))
@some
def test_what_stands_in_a_full_message_does_not_change_while_the_answer_grows(text: str, share: float) -> None:
    before = parts_of(text[: int(len(text) * share)], most=10_000)
    assert parts_of(text, most=10_000)[: len(before) - 1] == before[:-1]


@given(text=documents(12))
@some
def test_each_message_leaves_its_reader_outside_of_code(text: str) -> None:
    assert all(is_closed(part) for part in parts_of(text))


@pytest.mark.parametrize("most", [1, MOST_PARTS])
def test_a_table_that_grows_by_being_aligned_is_in_a_file_where_it_does_not_fit(most: int) -> None:
    rows = ["| " + "x" * 90 + " | a |", *(f"| {n} | y |" for n in range(60 * most))]
    text = "\n".join(["| A | B |", "|---|---|", *rows])
    parts = parts_of(text, most=most)
    assert parts[-1].endswith(THE_REST_IS_IN_THE_FILE)
    assert wants_a_file(parts)


def test_an_answer_of_many_messages_is_a_file_as_well_and_a_short_one_is_not() -> None:
    def is_a_file(messages: int, most: int = MOST_PARTS) -> bool:
        text = "\n\n".join(["word " * 380] * messages)
        parts = parts_of(text, most=most)
        assert len(parts) == min(messages, most)
        return wants_a_file(parts)

    assert [is_a_file(number) for number in (1, PARTS_WITHOUT_A_FILE)] == [False, False]
    assert [is_a_file(number) for number in (PARTS_WITHOUT_A_FILE + 1, 30)] == [True, True]
    assert is_a_file(2, most=1)
    assert not wants_a_file(["short"])


# ── Markdown as Discord shows it ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("# One", "# One"),
        ("### Three", "### Three"),
        ("#### Four", "**Four**"),
        ("###### Six ##", "**Six**"),
        ("##### **Five** of it", "**Five of it**"),
        ("####Four", "####Four"),
        ("a #### b", "a #### b"),
        ("```\n#### Four\n```", "```\n#### Four\n```"),
        ("![a cat](https://x.org/c.png)", "[a cat](https://x.org/c.png)"),
        ("Look: ![](https://x.org/c.png)!", "Look: [image](https://x.org/c.png)!"),
        ("No! [a](https://x.org)", "No! [a](https://x.org)"),
        ("[https://x.org](https://x.org)", "https://x.org"),
        ("[https://x.org](https://x.org/)", "https://x.org"),
        ("[https://x.org](https://evil.org)", "[https://x.org](https://evil.org)"),
        ("`![a](b)`\n```\n![a](b)\n```", "`![a](b)`\n```\n![a](b)\n```"),
        ("- a\n  - b\n> c", "- a\n  - b\n> c"),
        ("a | b", "a | b"),
        ("a | b\n---", "## a | b"),
    ],
)
def test_headings_images_and_links_read_as_discord_shows_them(text: str, seen: str) -> None:
    assert discord_markdown(text) == seen


def test_a_table_is_aligned_in_a_fence() -> None:
    text = "Before\n\n| A | **B** |\n|---|:-:|\n| long word | `1` |\n| x \\| y |\n\nAfter"
    seen = "Before\n\n```\nA         | B\n----------+--\nlong word | 1\nx | y\n```\n\nAfter"
    assert discord_markdown(text) == seen


def test_a_wide_table_stays_as_it_was_written_in_a_fence() -> None:
    row = f"| {'x' * WIDEST_TABLE} | ```b``` |"
    assert discord_markdown(f"| A | B |\n|---|---|\n{row}") == (
        f"```\n| A | B |\n|---|---|\n{row.replace('```', '` ` `')}\n```"
    )


def test_what_looks_like_a_table_in_code_is_code() -> None:
    text = "```\n| A | B |\n|---|---|\n```"
    assert discord_markdown(text) == text


@given(text=numbered())
@some
def test_every_table_is_in_a_fence_and_no_word_is_lost_on_the_way(text: str) -> None:
    seen = discord_markdown(text)
    assert words_in(seen) == words_in(text)
    assert is_closed(seen)
    inside = False
    for line in seen.split("\n"):
        inside ^= line.startswith(("```", "~~~"))
        assert inside or "|---|" not in line


# ── what people say ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (f"<@{BOT}> Hello", "Hello"),
        (f"<@!{BOT}>Hello", "Hello"),
        (f"  <@{BOT}>,  Hello", "Hello"),
        (f"<@{BOT}>: Hello", "Hello"),
        (f"<@{BOT}> <@{BOT}> Hello", "Hello"),
        (f"<@{BOT}>\nHello\nthere", "Hello\nthere"),
        (f"Hello <@{BOT}>", "Hello @Bob"),
        (f"<@{BOT}1> Hello", f"@{BOT}1 Hello"),
        (f"<@{BOT}> ask <@5> or <@!5>", "ask @Grace or @Grace"),
        ("<@5> ask <@&6> in <#7>", "@Grace ask @engineers in #general"),
        ("<@8> and <@&9> and <#10>", "@8 and @9 and #10"),
        ("I <:love:123> and <a:dance:456> it", "I :love: and :dance: it"),
        ("Use </ask:123> or </group ask:456>", "Use /ask or /group ask"),
        ("@everyone and <t:x> and <https://x.org>", "@everyone and <t:x> and <https://x.org>"),
        ("by <t:1796026860:R> or <t:1796026860>", "by " + " or ".join(["Monday, 30 November 2026, 08:21 UTC"] * 2)),
        ("never: <t:9999999999999:F>", "never: <t:9999999999999:F>"),
        ("a < b > c", "a < b > c"),
        (f"<@{BOT}>", ""),
        ("", ""),
        ("  Hello  ", "Hello"),
    ],
)
def test_markup_reads_as_people_see_it_without_the_mention_it_begins_with(content: str, text: str) -> None:
    assert readable(content, BOT, NAMES) == text


@given(words=st.text(max_size=50))
@some
def test_words_without_markup_stay_as_they_are(words: str) -> None:
    assume("<" not in words)
    assert readable(f"<@{BOT}> x{words}", BOT, NAMES) == f"x{words}".rstrip()


@pytest.mark.parametrize(
    ("content", "id_"),
    [
        ("<@5> hello", 5),
        ("  <@!5> hello", 5),
        ("<@&6> hello", 6),
        ("hello <@5>", None),
        ("<#7> hello", None),
        ("<:love:5>", None),
        ("", None),
    ],
)
def test_whom_a_message_opens_with_is_known(content: str, id_: int | None) -> None:
    assert opens_with(content) == id_


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("plans.txt", "plans.txt"),
        ("**b**_`~<@1>|\nx.txt", "b 1 x.txt"),
        ("@everyone.txt", "everyone.txt"),
        ("***", "a file"),
        ("", "a file"),
    ],
)
def test_the_name_of_a_file_is_told_without_anything_special(name: str, told: str) -> None:
    assert named(name) == told


@given(name=st.text(max_size=300))
@some
def test_the_name_of_a_file_is_short_and_calls_for_nobody(name: str) -> None:
    (told,) = names_of_files([named(name)], str)
    assert 0 < len(told) <= LONGEST_NAME_OF_A_FILE
    assert not set(told) & set("*_`~<>|\n@")


# ── whose conversation it is ─────────────────────────────────────────────────────────────────────────────────────────


def test_sessions_are_a_dms_a_threads_or_a_persons_in_a_channel() -> None:
    assert Here("dm", 1, None, None).session(message=9, user=5) == "discord:dm:1"
    assert Here("thread", 2, 1, 3).session(message=9, user=5) == "discord:thread:2"
    assert Here("inline", 1, None, 3).session(message=9, user=5) == "discord:channel:1:user:5"
    assert Here("opens", 1, None, 3).session(message=None, user=5) == "discord:channel:1:user:5"


def test_a_message_that_opens_a_thread_begins_the_session_of_that_thread() -> None:
    opened = Here("opens", 1, None, 3).session(message=9, user=5)
    assert opened == Here("thread", 9, 1, 3).session(message=10, user=6)


def test_an_assistant_is_chosen_for_a_channel_with_its_threads() -> None:
    assert Here("thread", 2, 1, 3).place == Here("opens", 1, None, 3).place == Here("inline", 1, None, 3).place
    assert (
        len({Here("dm", 4, None, None).place, Here("inline", 1, None, 3).place, Here("inline", 5, None, 3).place}) == 3
    )


IDS = st.integers(1, 2)
PLACES = st.builds(
    Here,
    st.sampled_from(("dm", "thread", "opens", "inline")),
    IDS,
    st.one_of(st.none(), IDS),
    st.one_of(st.none(), IDS),
)


@given(one=PLACES, other=PLACES, people=st.tuples(IDS, IDS))
@some
def test_nobody_gets_into_another_channels_session_nor_beside_a_thread_or_dm_into_anothers(
    one: Here, other: Here, people: tuple[int, int]
) -> None:
    first, second = (here.session(message=None, user=user) for here, user in zip((one, other), people, strict=True))
    if first == second:
        assert one.channel == other.channel
        assert people[0] == people[1] or {one.kind, other.kind} in ({"dm"}, {"thread"})


def test_people_of_different_platforms_are_different_people() -> None:
    assert person_id(5) == "discord:5"


# ── titles, and what is said before an answer ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("What is new?", "What is new?"),
        ("One\nTwo", "One"),
        ("  much   space ", "much space"),
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 59 + "…"),
        ("", "A conversation with Bob"),
    ],
)
def test_a_thread_is_named_by_the_first_line_of_its_question(question: str, title: str) -> None:
    assert title_of(a_turn(question), str) == title


@given(question=st.text(max_size=200).map(str.strip))
@some
def test_a_thread_always_has_a_name_that_discord_takes(question: str) -> None:
    title = title_of(a_turn(question), str)
    assert 0 < len(title) <= LONGEST_TITLE
    assert title.strip()


def test_a_private_question_names_no_thread() -> None:
    assert title_of(a_turn("secret plans", private=True), str) == "A conversation with Bob"


def test_the_name_of_a_thread_shows_no_word_that_may_be_a_password() -> None:
    passwords = Passwords([Password("482913", "Private-Bob", name="PRIVATE_BOB_PASSWORD")])
    question = "700001 700003 a title, 482913"
    assert title_of(a_turn(question), passwords.masked) == "•••••• •••••• a title, ••••••"


def test_before_an_answer_stands_what_has_to_be_said_of_the_question() -> None:
    assert shown(a_turn(guild=1), "Yes.") == "Yes."
    assert shown(a_turn(private=True, said_password=True, guild=1), "Yes.") == "🔒 _Bob_\n\nYes."
    assert "a.txt, b.txt" in shown(replace(a_turn(), frame=Frame("", ["a.txt", "b.txt"])), "Yes.").partition("\n\n")[0]
    assert shown(a_turn(said_password=True, guild=1), "  ") == "  "


# ── who may ask ──────────────────────────────────────────────────────────────────────────────────────────────────────

SERVER, CHANNEL, THREAD, ROLE = 1, 2, 3, 4


@pytest.mark.parametrize(
    ("kind", "guild", "channel", "roles", "allowed", "refusal"),
    [
        ("inline", SERVER, CHANNEL, {ROLE}, Allowed(), None),
        ("dm", None, 9, None, Allowed(), None),
        ("inline", SERVER, CHANNEL, None, Allowed(guilds={SERVER}), None),
        ("inline", 8, CHANNEL, None, Allowed(guilds={SERVER}), ANOTHER_PLACE),
        ("inline", SERVER, CHANNEL, None, Allowed(channels={CHANNEL}), None),
        ("inline", SERVER, 9, None, Allowed(channels={CHANNEL}), ANOTHER_PLACE),
        ("inline", None, 9, None, Allowed(channels={CHANNEL}), ANOTHER_PLACE),
        ("dm", None, 9, None, Allowed(channels={CHANNEL}), None),
        ("inline", SERVER, CHANNEL, {ROLE, 9}, Allowed(roles={ROLE}), None),
        ("inline", SERVER, CHANNEL, {9}, Allowed(roles={ROLE}), NOT_ON_THE_LIST),
        ("inline", SERVER, CHANNEL, set(), Allowed(roles={ROLE}), NOT_ON_THE_LIST),
        ("inline", SERVER, CHANNEL, {ROLE}, Allowed({SERVER}, {CHANNEL}, {ROLE}), None),
        ("inline", 8, CHANNEL, {ROLE}, Allowed({SERVER}, {CHANNEL}, {ROLE}), ANOTHER_PLACE),
    ],
)
def test_who_may_ask_is_a_matter_of_server_channel_and_role(
    kind: Kind, guild: int | None, channel: int, roles: set[int] | None, allowed: Allowed, refusal: str | None
) -> None:
    assert allowed.refusal(Here(kind, channel, None, guild), Speaker(5, "Ada", roles)) == refusal


def test_a_channel_is_allowed_with_its_threads() -> None:
    speaker = Speaker(5, "Ada", None)
    assert Allowed(channels={CHANNEL}).refusal(Here("thread", THREAD, CHANNEL, SERVER), speaker) is None
    assert Allowed(channels={THREAD}).refusal(Here("thread", THREAD, CHANNEL, SERVER), speaker) is None
    assert Allowed(channels={CHANNEL}).refusal(Here("thread", THREAD, 9, SERVER), speaker) == ANOTHER_PLACE


@given(
    here=PLACES,
    roles=st.one_of(st.none(), st.sets(IDS)),
    allowed=st.builds(Allowed, st.sets(IDS), st.sets(IDS), st.sets(IDS)),
)
@some
def test_whoever_cannot_be_judged_at_once_is_looked_for(here: Here, roles: set[int] | None, allowed: Allowed) -> None:
    speaker = Speaker(5, "Ada", roles)
    if allowed.refusal(here, speaker) is None and not allowed.needs_a_look(here, speaker):
        assert not allowed.guilds or here.guild in allowed.guilds
        assert not allowed.roles or (roles is not None and roles & set(allowed.roles))
        assert not allowed.channels or here.kind == "dm" or {here.channel, here.parent} & set(allowed.channels)


@given(here=PLACES, roles=st.one_of(st.none(), st.sets(IDS)))
@some
def test_without_a_list_everybody_may_ask(here: Here, roles: set[int] | None) -> None:
    assert Allowed().refusal(here, Speaker(5, "Ada", roles)) is None
    assert not Allowed().needs_a_look(here, Speaker(5, "Ada", roles))


@pytest.mark.parametrize("text", ["![", "[http://", "[http://a](http://", "![" * 3 + "a"])
def test_no_text_takes_long_to_be_rewritten(text: str) -> None:
    begun = time.process_time()
    parts_of(text * (30_000 // len(text)))
    assert time.process_time() - begun < 0.3  # it is 0.01; what is quadratic takes more than a second


@pytest.mark.parametrize("before", [*range(12), *range(1_690, 1_702), *range(1_990, 2_002)])
def test_no_emoji_is_torn_at_the_border_of_a_message(before: int) -> None:
    text = "a" * before + "😀" * 3_000
    parts = parts_of(text)
    assert "".join(parts) == text
    assert max(map(units, parts)) <= DISCORD_TAKES


@pytest.mark.parametrize("cluster", EMOJI)
def test_what_is_seen_as_one_sign_is_one_at_the_border_of_a_message_where_spaces_are_around(cluster: str) -> None:
    for before in range(1, 2 * units(cluster) + 2):
        parts = parts_of("a" * before + f" {cluster}" * 1_500)
        assert {each for part in parts for each in part.split()} == {"a" * before, cluster}
