"""What a person reads on the fake Discord: which messages of the bot answer which message."""

from tests.fakes.discord_messages import DEFAULT, REPLY, Message
from tests.fakes.discord_state import State


def replies_to(state: State, id: int) -> list[Message]:
    """The messages of the bot that a person takes for the answer to a message, in order.

    These are its replies to the message, and in the thread that was opened on the message those before anybody else
    writes. A message that replies to none is taken for a part of what the bot said just before, or else for the answer
    to whatever was said just before.
    """
    message = state.messages[id]
    places = [message.channel, *([message.thread] if message.thread else [])]
    found = []
    for place in places:
        before: Message | None = message if place is message.thread else None
        roots: dict[int, Message | None] = {}
        for one in state.in_channel(place):
            if one.interaction is not None or one.type not in (DEFAULT, REPLY):
                continue
            roots[one.id] = _root(one, before, roots)
            if one.by_bot and roots[one.id] is message:
                found.append(one)
            before = one
    return sorted(found, key=lambda one: one.id)


def _root(message: Message, before: Message | None, roots: dict[int, Message | None]) -> Message | None:
    """What somebody else said that a message of the bot answers."""
    if not message.by_bot:
        return message
    answered = message.refers_to if message.type == REPLY and message.refers_to else before
    if answered is None or not answered.by_bot:
        return answered
    return roots.get(answered.id, answered)
