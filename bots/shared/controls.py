"""What people tell Bob to do instead of asking, in words that no platform has to itself. It all acts at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from core import Chat, Turn

WAS_RESET = "A new conversation begins here: I no longer look at what was said above."
NOTHING_TO_RESET = "There is no conversation here yet."
NOTHING_TO_STOP = "There is no answer being written here."
NOTHING_KEPT = "I keep nothing of this conversation."
NOT_NOW = "Sorry, I cannot store anything right now. Please try again shortly."
THANKS = "Thank you for telling me."


async def reset(chat: Chat, session: str) -> str:
    """Let a session begin anew. Gives what to say to that."""
    return WAS_RESET if await chat.reset(session) else NOTHING_TO_RESET


async def stop(chat: Chat, turns: Iterable[Turn], person: str) -> bool:
    """End the answer that is being written, and whatever else this person waits for. False where there is nothing."""
    found = False
    for turn in turns:
        if not found or turn.person == person:
            await chat.stop(turn.id)
        found = True
    return found


async def choose(chat: Chat, name: str, choose_it: Callable[[str], Awaitable[None]], *, where: str, how: str) -> str:
    """Let an assistant answer somewhere; without a name, tell which there are. Gives what to say to that."""
    public = [assistant.name for assistant in chat.assistants if not assistant.private]
    can_answer = f"These can answer: {', '.join(public)}."
    if not name.strip():
        return f"{can_answer} {how} chooses one for {where}."
    found = next((each for each in public if each.casefold() == name.strip().casefold()), None)
    if found is None:
        return f"There is no assistant of that name to choose. {can_answer}"
    await choose_it(found)
    return f"{found} answers in {where} from now on."


async def forget(
    chat: Chat, session: str, person: str, *, is_admin: Callable[[], Awaitable[bool]], admins: str, platform: str
) -> str:
    """Erase a session, for whoever began it and for admins. Gives what to say to that."""
    starter = await chat.starter(session)
    if starter is None:
        return NOTHING_KEPT
    if person != starter and not await is_admin():
        return f"Only whoever began this conversation with me, or {admins}, can let me forget it."
    await chat.forget(session)
    return forgotten(platform)


def forgotten(platform: str) -> str:
    """What to say once a session is erased."""
    return (
        "Forgotten: I keep nothing of it any more, and what the language model's provider keeps is being erased. "
        f"Messages in {platform} stay."
    )
