"""Context: what was said in Slack before a question reaches the model along with it, within bounds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bots.shared.words import EARLIER_IN_THIS_THREAD, OVERHEARD, after_a_gap
from bots.slack import prepare as slack_prepare
from bots.slack.prepare import OPEN_BESIDE_IT
from bots.slack.words import parse_message
from tests.bots.conftest import HI, Start, answered, asked, calls, settled
from tests.conftest import PASSWORD
from tests.core.fixtures.database import contents
from tests.fakes.frames import setting_of
from tests.fakes.openai_api import FakeOpenAI
from tests.fakes.slack_api import FakeSlack
from tests.fakes.slack_messages import Message


def overheard(*lines: str) -> str:
    """What the model is told first of what was said above a mention."""
    return "\n".join([f"{OVERHEARD}:", *lines, "", ""])


def said_before(slack: FakeSlack, channel: str, text: str, *, seconds: float, thread: str | None = None) -> str:
    """Grace said something so long ago, of which nobody was told; before all that is said in the channel by now."""
    state = slack._state
    ts = f"{float(state.clock.ts()) - seconds:.6f}"
    before, after = {}, state.messages.get(channel, {})
    before[ts] = Message(channel, ts, "U2", text=text, thread_ts=thread)
    state.messages[channel] = {**before, **after}
    return ts


# ── above a mention ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_is_said_above_a_mention_is_told_as_overheard_with_who_said_it(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    slack.says("U2", "C1", "lunch at <@U3>?", subtype="channel_topic")
    root = slack.says("U2", "C1", "shall <@U3> come at noon?")
    slack.says("U3", "C1", "in a thread", thread_ts=root)
    slack.says("U9", "C1", "", attachments=[{"title": "Rain", "image_url": "https://x.org/1.png"}])
    async with bob():
        answer = await answered(slack, "C1", slack.says("U1", "C1", f"{HI} when?"))
    assert asked(fake) == [
        overheard("Grace: shall @Root come at noon?", "Otherbot (app): Rain", "(Not readable: the picture in Rain)")
        + "Ada: when?"
    ]
    assert answer.endswith("_Of what was said before I have not seen: the picture in Rain_")


@pytest.mark.parametrize(
    ("most", "told"), [(20, ["one", "two", "three"]), (2, ["two", "three"]), (1, ["three"]), (0, [])]
)
async def test_no_more_of_it_is_told_than_is_set_and_the_last_of_it(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, most: int, told: list[str]
) -> None:
    for text in ("one", "two", "three"):
        slack.says("U2", "C1", text)
    async with bob(slack_context_messages=most):
        await answered(slack, "C1", slack.says("U1", "C1", f"{HI} when?"))
    before = overheard(*(f"Grace: {text}" for text in told)) if told else ""
    assert asked(fake) == [f"{before}Ada: when?"]
    assert len(calls(slack, "conversations.history")) == bool(most)


@pytest.mark.parametrize(("seconds", "is_told"), [(3_590.0, True), (3_610.0, False)])
async def test_what_was_said_more_than_an_hour_before_is_not_told(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, seconds: float, is_told: bool
) -> None:
    said_before(slack, "C1", "the cat is called Tom", seconds=seconds)
    async with bob():
        await answered(slack, "C1", slack.says("U1", "C1", f"{HI} why?"))
    assert ("the cat is called Tom" in asked(fake)[0]) is is_told


@pytest.mark.parametrize("channel", ["P1", "G1"])
async def test_it_is_told_in_private_channels_and_in_groups_and_of_no_other_channel(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, channel: str
) -> None:
    slack.says("U2", "C1", "elsewhere")
    slack.says("U2", channel, "here")
    async with bob():
        await answered(slack, channel, slack.says("U1", channel, f"{HI} where?"))
    assert asked(fake) == [overheard("Grace: here") + "Ada: where?"]


async def test_nothing_is_overheard_in_a_direct_message_nor_of_it(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    async with bob():
        for text in ("one", "two"):
            await answered(slack, "D1", slack.says("U1", "D1", text))
    assert asked(fake) == ["one", "two"]
    assert calls(slack, "conversations.history") == []


async def test_questions_and_answers_are_not_overheard(slack: FakeSlack, fake: FakeOpenAI, bob: Start) -> None:
    async with bob():
        first = slack.says("U1", "C1", f"{HI} who are you?")
        await answered(slack, "C1", first)
        slack.says("U2", "C1", "a bot, I think")
        await answered(slack, "C1", slack.says("U2", "C1", f"{HI} is that so?"))
    assert asked(fake) == ["Ada: who are you?", overheard("Grace: a bot, I think") + "Grace: is that so?"]


async def test_what_is_said_above_a_bare_mention_is_overheard_by_the_question_that_follows(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    async with bob():
        slack.says("U2", "C1", "the cat is called Tom")
        mention = slack.says("U1", "C1", HI)
        await slack.idle()
        slack.says("U1", "C1", "why?")
        await settled(slack, "C1", mention)
    assert asked(fake) == [overheard("Grace: the cat is called Tom") + "Ada: why?"]


async def test_what_was_asked_in_private_without_a_mention_is_not_overheard(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    fake.answer = lambda asked: "Under the oak" if "treasure" in asked.question else "Nothing."
    async with bob(private_bob_password=PASSWORD):
        mention = slack.says("U1", "C1", HI)
        await slack.idle()
        slack.says("U1", "C1", f"{PASSWORD} where is the treasure?")
        await settled(slack, "C1", mention)
        await answered(slack, "C1", slack.says("U2", "C1", f"{HI} what was that?"))
    assert asked(fake)[1:] == ["Grace: what was that?"]


async def test_without_the_scope_bob_asks_once_and_leaves_it_silently(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    slack.scopes -= {"channels:history"}
    slack.says("U2", "C1", "the cat is called Tom")
    async with bob() as running:
        for channel in ("C1", "C2", "C1"):
            await answered(slack, channel, slack.says("U1", channel, f"{HI} why?"))
        assert running.chat.troubles.by_surface == {}
    assert asked(fake) == ["Ada: why?"] * 3
    assert len(calls(slack, "conversations.history")) == 1


@pytest.mark.parametrize("error", ["internal_error", "channel_not_found", "ratelimited"])
async def test_what_cannot_be_overheard_costs_no_answer(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    monkeypatch.setattr(slack_prepare, "SECONDS_TO_OVERHEAR", 0.2)
    slack.fail("conversations.history", error, times=None, retry_after=60)
    slack.says("U2", "C1", "the cat is called Tom")
    async with bob():
        await answered(slack, "C1", slack.says("U1", "C1", f"{HI} why?"))
    assert asked(fake) == ["Ada: why?"]


async def test_no_password_that_is_overheard_opens_anything_or_is_kept(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    slack.says("U2", "C1", f"it is {PASSWORD}")
    async with bob(private_bob_password=PASSWORD):
        assert "Private-Bob" not in await answered(slack, "C1", slack.says("U1", "C1", f"{HI} what is it?"))
    assert asked(fake) == [overheard("Grace: it is ••••••") + "Ada: what is it?"]
    assert PASSWORD not in fake.texts() + contents(sqlite_url)


async def test_what_is_overheard_belongs_to_its_question_alone(slack: FakeSlack, fake: FakeOpenAI, bob: Start) -> None:
    slack.says("U2", "C1", "the cat is called Tom")
    async with bob(private_bob_password=PASSWORD, openai_threads="local"):
        root = slack.says("U1", "C1", f"{HI} {PASSWORD} why?")
        await settled(slack, "C1", root)
        slack.says("U1", "C1", f"{HI} and the dog?", thread_ts=root)
        await settled(slack, "C1", root, 2)
    first, second = (str(each.json) for each in fake.requests if each.template == "/responses")
    assert "Tom" in first
    assert "Tom" not in second


# ── long threads ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let fewer messages make a long thread."""
    monkeypatch.setattr(slack_prepare, "EARLIER_MESSAGES", 5)
    monkeypatch.setattr(slack_prepare, "MESSAGES_OF_A_PAGE", 20)


def evenly(number: int, of: int) -> float:
    """How many seconds ago a message of a lively thread was said."""
    return (of - number) * 0.01


def slowly(number: int, of: int) -> float:
    """How many seconds ago a message of a thread was said that sleeps for years and then is lively."""
    return float(3 ** min(of - number, 17)) if number > 2 else 1e8 - number


def thread_of(slack: FakeSlack, messages: int, ago: Callable[[int, int], float]) -> str:
    """A thread of so many messages after its root, before anything else in the channel."""
    state = slack._state
    now = float(state.clock.ts())
    room = state.messages["C1"] = {}
    root = f"{now - 1e8 if ago is slowly else now - 1000:.6f}"
    room[root] = Message("C1", root, "U2", text="root", thread_ts=root)
    for number in range(1, messages + 1):
        ts = f"{now - 0.001 - ago(number, messages):.6f}"
        while ts in room:
            ts = f"{float(ts) + 0.000001:.6f}"
        room[ts] = Message("C1", ts, "U3", text=f"message {number}", thread_ts=root)
    return root


@pytest.mark.parametrize("ago", [evenly, slowly])
@pytest.mark.parametrize(
    ("messages", "left_out"), [(1, 0), (4, 0), (5, 1), (15, 11), (19, 15), (20, 16), (60, 56), (400, 396)]
)
async def test_a_long_thread_is_told_by_its_root_the_number_of_what_is_left_out_and_what_was_said_last(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, small: None, ago: Callable[[int, int], float], messages: int,
    left_out: int,
) -> None:  # fmt: skip
    root = thread_of(slack, messages, ago)
    async with bob():
        slack.says("U1", "C1", f"{HI} what now?", thread_ts=root)
        await settled(slack, "C1", root)
    last = [f"Root: message {number}" for number in range(left_out + 1, messages + 1)]
    gap = [f"\n{after_a_gap(left_out)}:"] if left_out else []
    assert asked(fake) == ["\n".join(["Earlier in this thread:", "Grace: root", *gap, *last, "", "Ada: what now?"])]
    assert len(calls(slack, "conversations.replies")) <= 1 + slack_prepare.MOST_LOOKS_AT_A_THREAD


async def test_of_1200_messages_the_first_and_the_last_are_told(slack: FakeSlack, fake: FakeOpenAI, bob: Start) -> None:
    root = thread_of(slack, 1_199, evenly)
    async with bob():
        slack.says("U1", "C1", f"{HI} what now?", thread_ts=root)
        await settled(slack, "C1", root)
    told = asked(fake)[0].split("\n")
    assert told[:4] == ["Earlier in this thread:", "Grace: root", "", f"{after_a_gap(1_150)}:"]
    assert told[4:-2] == [f"Root: message {number}" for number in range(1_151, 1_200)]
    assert len(calls(slack, "conversations.replies")) < 6


async def test_what_was_said_since_bob_was_last_asked_is_told_by_its_end(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, small: None
) -> None:
    async with bob(slack_follow_ups="mention"):
        root = slack.says("U1", "C1", f"{HI} one")
        await settled(slack, "C1", root)
        for number in range(30):
            slack.says("U2", "C1", f"message {number}", thread_ts=root)
        slack.says("U1", "C1", f"{HI} two", thread_ts=root)
        await settled(slack, "C1", root, 2)
    last = [f"Grace: message {number}" for number in range(26, 30)]
    assert asked(fake)[1] == "\n".join([f"{after_a_gap(None)}:", *last, "", "Ada: two"])


async def test_a_thread_of_which_slack_tells_only_the_beginning_is_told_by_that(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, small: None
) -> None:
    root = thread_of(slack, 60, evenly)
    slack.fail("conversations.replies", "channel_not_found", times=None, when=lambda call: "oldest" in call)
    async with bob():
        slack.says("U1", "C1", f"{HI} what now?", thread_ts=root)
        await settled(slack, "C1", root)
    first = [f"Root: message {number}" for number in range(1, 5)]
    assert asked(fake) == ["\n".join(["Earlier in this thread:", "Grace: root", *first, "", "Ada: what now?"])]


def test_the_titles_of_a_thread_are_told_in_one_line_each() -> None:
    assert after_a_gap(1) == "Earlier in this thread: … 1 message left out …, then, the oldest first"
    assert after_a_gap(1_150) == "Earlier in this thread: … 1,150 messages left out …, then, the oldest first"
    assert "\n" not in EARLIER_IN_THIS_THREAD + OVERHEARD + after_a_gap(None)


# ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def told(fake: FakeOpenAI) -> list[str]:
    """Where the model was told that it was asked."""
    sent = [each.json for each in fake.requests if (each.method, each.template) == ("POST", "/responses")]
    lines = [setting_of(str(each["input"][-1]["content"])) for each in sent if isinstance(each, dict)]
    return [line.partition(" Here: ")[2].removesuffix(".)") for line in lines]


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        ("channel", r'channel "room-c7", topic "Roof \"red\" > and @Grace"'),
        ("private", r'channel "room-c7", topic "Roof \"red\" > and @Grace"'),
        ("mpim", ""),
        ("im", ""),
    ],
)
async def test_the_model_is_told_the_name_and_the_topic_of_the_channel(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, kind: str, where: str
) -> None:
    slack.add_channel("C7", kind, ["U1", "U2"], topic='Roof "red"\n&gt; and <@U2>')
    async with bob():
        for _ in range(2):
            await answered(slack, "C7", slack.says("U1", "C7", f"{HI} why?"))
    assert told(fake) == [where] * 2
    assert len(calls(slack, "conversations.info")) <= 1


async def test_no_password_in_the_topic_of_a_channel_is_told_or_kept(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    slack.add_channel("C7", topic=f"it is {PASSWORD}")
    async with bob(private_bob_password=PASSWORD):
        assert "Private-Bob" not in await answered(slack, "C7", slack.says("U1", "C7", f"{HI} why?"))
    assert told(fake) == ['channel "room-c7", topic "it is ••••••"']
    assert PASSWORD not in fake.texts() + contents(sqlite_url)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("see <#C2>", "see #room-c2"),
        ("see <#C2|>", "see #room-c2"),
        ("see <#C2|plans>", "see #plans"),
        ("see <#C1>", "see #room-c1"),
        ("see <#P1>", "see #channel"),  # private: those who read the answer may not see it
        ("see <#C404>", "see #channel"),
        ("see <!subteam^S1>", "see @engineers"),
        ("see <!subteam^S1|@eng>", "see @eng"),
        ("see <!subteam^S404>", "see @group"),
        ("on <!date^0^{date}|New Year>", "on New Year"),
        ("on <!date^0^{date}>", "on Thursday, 1 January 1970, 00:00 UTC"),
        ("on <!date^x^{date}>", "on @date"),
        ("<@U2> and <@U404>", "@Grace and @U404"),
        ("&lt;#C2&gt; &amp; <!here>", "#room-c2 & @here"),
    ],
)
async def test_ids_have_names(slack: FakeSlack, fake: FakeOpenAI, bob: Start, text: str, read: str) -> None:
    async with bob():
        for _ in range(2):
            await answered(slack, "C1", slack.says("U1", "C1", f"{HI} {text}"))
    assert asked(fake) == [f"Ada: {read}"] * 2
    assert len(calls(slack, "conversations.info")) <= 2
    assert len(calls(slack, "usergroups.list")) <= 1


async def test_without_the_scope_for_names_bob_asks_once_and_leaves_it_silently(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    slack.scopes -= {"channels:read"}
    async with bob() as running:
        for channel in ("C1", "C2", "C1"):
            await answered(slack, channel, slack.says("U1", channel, f"{HI} what is <#C2>?"))
        assert running.chat.troubles.by_surface == {}
    assert asked(fake) == ["Ada: what is #channel?"] * 3
    assert len(calls(slack, "conversations.info")) == 1


# ── what is open beside a direct message ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("channels", "where"),
    [
        (["C2", "C1"], f'{OPEN_BESIDE_IT} "room-c2"'),
        (["G7"], f'{OPEN_BESIDE_IT} "room-g7"'),  # a private one
        (["C404"], ""),
        (["D1"], ""),
        ([], ""),
    ],
)
async def test_the_model_is_told_which_channel_its_person_has_open_beside_a_direct_message_and_nothing_said_there(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, channels: list[str], where: str
) -> None:
    slack.add_channel("G7", "private")
    slack.says("U2", "C2", "the cat is called Tom")
    async with bob():
        slack.looks_at("U1", *channels)
        await answered(slack, "D1", slack.says("U1", "D1", "what is this?"))
    assert told(fake) == [where]
    assert "Tom" not in fake.texts()


async def test_what_somebody_has_open_is_not_told_in_a_channel(slack: FakeSlack, fake: FakeOpenAI, bob: Start) -> None:
    async with bob():
        slack.looks_at("U1", "C2")
        await answered(slack, "C1", slack.says("U1", "C1", f"{HI} what is this?"))
    assert told(fake) == ['channel "room-c1"']


@pytest.mark.parametrize(
    "context",
    [5, [], {"entities": 5}, {"entities": [5, None, {}]},
     {"entities": [{"type": "slack#/types/canvas_id", "value": "F1"}]},
     {"entities": [{"type": "slack#/types/channel_id", "value": {}}]},
     {"entities": [{"type": "slack#/types/channel_id", "value": "../C2"}]}],
)  # fmt: skip
def test_a_context_of_a_shape_that_is_not_known_is_none(context: object) -> None:
    event = {"type": "message", "channel_type": "im", "channel": "D1", "user": "U1", "ts": "1.0", "text": "hello",
             "app_context": context}  # fmt: skip
    incoming = parse_message({"authorizations": [{"user_id": "U0BOT", "team_id": "T1"}]}, event)
    assert incoming is not None
    assert "beside" not in incoming.destination
