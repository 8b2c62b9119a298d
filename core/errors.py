"""What can go wrong, in words that are fit to be shown.

    ChatError
      NotAccepted         nothing was stored
        ComeAgain           the same may be accepted after `retry_after` seconds, maybe by another process
          Draining            this process is about to end
          Overloaded          too much waits already
          StoreUnavailable    the database failed
        Rejected            whoever asked has to be told
          BadQuestion         the text cannot be asked
          FilesTooLarge       what is attached is too large
          EventReused         the same event came with another text
          NotTheLastTurn      what it would replace cannot be replaced any more
          PasswordNeededAgain  what it replaces was asked of a private assistant
          UnknownAssistant    no public assistant of that name
          UnknownSession      no session of that name, or one that may not be looked up
          SessionInUse        a session that cannot become somebody's now
          WrongPassword       a password asked for in a window opens nothing
          PasswordsClosed     too many words that may be passwords
          NoPrivateHere       a password was said where it may open nothing
          OnlyApps            apps have asked by themselves often enough
      AnswerFailed        the turn was stored and ended without an answer
        ModelBusy, ModelUnavailable, ModelQuotaExhausted, ModelMisconfigured,
        QuestionRefused, FilesRefused, TooLong, OutOfTime, GivenUp, NotAllowed
      LeaseLost            another process took the turn over; nothing more may be written or shown
    StartError            the process cannot begin; for its operator

`error.sentence` is one sentence for a person, and `str(error)` the same in English. It never holds what a vendor said,
what somebody wrote, or a secret.
"""

from __future__ import annotations

from typing import Self

from core.languages import Sentence, as_it_was_stored

WITH_REFERENCE = "{sentence} (Reference {reference}.)"


class StartError(Exception):
    """The process cannot begin its work; the message tells its operator why, without a secret."""


class ChatError(Exception):
    """Anything of ours that a person may be told. `sentence` is what they are told.

    A retry makes sense after `retry_after` seconds; None where there is nothing to wait for.
    """

    sentence: Sentence = Sentence("Sorry, something went wrong on our side.")
    retry_after: int | None = None

    def __init__(self, sentence: Sentence | None = None, *, retry_after: int | None = None) -> None:
        if sentence is not None:
            self.sentence = sentence
        if retry_after is not None:
            self.retry_after = retry_after
        super().__init__(self.sentence)


class NotAccepted(ChatError):
    """The question was not stored, so nothing will answer it."""


class ComeAgain(NotAccepted):
    """It may be accepted later, or by another process: whoever can deliver it again does."""

    retry_after = 5


class Draining(ComeAgain):
    """This process is about to end and takes nothing new. Another one may."""

    sentence = Sentence("I am about to restart. Please try again shortly.")
    retry_after = 2


class Overloaded(ComeAgain):
    """Too much is waiting already."""

    sentence = Sentence("There is too much waiting to be answered right now. Please try again shortly.")


class StoreUnavailable(ComeAgain):
    """The database did not do what it was asked to; nothing was stored."""

    sentence = Sentence("Sorry, I cannot store anything right now, so I do not answer. Please try again shortly.")


class Rejected(NotAccepted):
    """It is not accepted as it is, however often it comes. Whoever asked has to be told."""


class BadQuestion(Rejected):
    """The question cannot be asked as it is."""


class FilesTooLarge(Rejected):
    """The files of a question are too large together."""


class EventReused(Rejected):
    """The same event was accepted before with another text, or with other files."""

    sentence = Sentence("This idempotency key was used in this session before, with another text or other files.")


class NotTheLastTurn(Rejected):
    """What a question would replace is not the last of its session, is still answered, or is not there any more."""

    sentence = Sentence("Only the last question can be asked anew or changed, once its answer has ended.")


class PasswordNeededAgain(Rejected):
    """What was asked of a private assistant is asked otherwise, without its password."""

    sentence = Sentence(
        "That was asked of a private assistant. To ask it something else, say its password again, with the question."
    )


class UnknownAssistant(Rejected):
    """No assistant of that name may be chosen here."""

    sentence = Sentence("There is no such assistant to choose here.")


class UnknownSession(Rejected):
    """There is no such session, or whoever asks may not look it up."""

    sentence = Sentence("There is no such session.")


class SessionInUse(Rejected):
    """A session cannot become a person's: something is being answered in it, or the person has one of that name."""

    sentence = Sentence(
        "A question is being answered in this session, or you have one of that name. It stays as it is."
    )


class WrongPassword(Rejected):
    """The password opens nothing."""

    sentence = Sentence("That password opens nothing.")


class PasswordsClosed(Rejected):
    """Too many words that may be passwords came lately, so nothing is read that holds more of them.

    What was said is asked of nobody and kept nowhere, whether a password is in it or not.
    """

    sentence = Sentence(
        "Too many numbers that could be a password were said within an hour. So I asked nobody this, and kept nothing "
        "of it. Please say it without such numbers, or again in an hour."
    )
    retry_after = 3600


class NoPrivateHere(Rejected):
    """A password was said by somebody who may not ask private assistants. It is asked of nobody and kept nowhere."""

    sentence = Sentence(
        "This holds the password of a private assistant, who cannot be asked from here. So I asked nobody this, and "
        "kept nothing of it."
    )


class OnlyApps(Rejected):
    """Apps asked the last turns of a session, and no person. `turns` counts all that were ever asked there."""

    sentence = Sentence("Several apps have asked here one after the other, and nobody else. I wait for a person.")

    def __init__(self, turns: int) -> None:
        super().__init__()
        self.turns = turns


class LeaseLost(ChatError):
    """The turn belongs to another process now. Whoever gets this stops without a word."""

    sentence = Sentence("This question is no longer answered here.")
    retry_after = 1


class AnswerFailed(ChatError):
    """The turn ended without an answer."""

    status = "unavailable"  # of the language model, in health
    for_operators = "The language model fails. It is tried again now and then."

    sentence = Sentence("Sorry, I could not finish that answer. Please ask again.")

    @property
    def kind(self) -> str:
        """What is kept of it with the turn, besides its sentence: the name of its class."""
        return type(self).__name__


class ModelBusy(AnswerFailed):
    """The language model refused for now (rate limits)."""

    sentence = Sentence("Sorry, the language model is too busy right now. Please ask again in a minute.")


class ModelUnavailable(AnswerFailed):
    """The language model could not be reached, broke off, or failed on its own side."""

    sentence = Sentence("Sorry, the language model could not be reached or broke off. Please ask again.")


class ModelQuotaExhausted(AnswerFailed):
    """The account at the provider has no money or quota left. An operator has to act."""

    sentence = Sentence("Sorry, the language model's account is used up. Please tell whoever runs this assistant.")
    status = "quota exhausted"
    for_operators = "The account at the language model's provider is used up: add credit there, or raise its limit."


class ModelMisconfigured(AnswerFailed):
    """The provider refused our key, our model or our parameters. An operator has to act."""

    sentence = Sentence(
        "Sorry, the language model refuses this assistant's set-up. Please tell whoever runs this assistant."
    )
    status = "refused"
    for_operators = (
        "The language model's provider refuses our key (OPENAI_API_KEY), our model (OPENAI_MODEL), or what we ask for "
        "at this address (OPENAI_BASE_URL)."
    )


class QuestionRefused(AnswerFailed):
    """The provider's policies refused the question."""

    sentence = Sentence("Sorry, the language model's rules do not allow me to answer that.")


class FilesRefused(AnswerFailed):
    """The provider refused what is attached, and goes on doing so without it."""

    sentence = Sentence(
        "Sorry, the language model refuses what is attached. Please ask without it, or send it in another form."
    )


class TooLong(AnswerFailed):
    """The question does not fit into the model's context, even without any history."""

    sentence = Sentence("Sorry, that is too long for the language model. Please ask something shorter.")


class NoWords(AnswerFailed):
    """The language model ended its answer without a word."""

    sentence = Sentence("Sorry, the language model had no words for that. Please ask it in another way.")


class OutOfTime(AnswerFailed):
    """The turn's deadline passed."""

    sentence = Sentence("Sorry, the answer took too long. Please ask again.")


class NotAllowed(AnswerFailed):
    """This person may not ask here. Whoever prepares a turn raises it, with a sentence, or an empty one for silence.

    `by` is what does not allow it: the name of a setting, or of an error.
    """

    sentence = Sentence("Sorry, I may not answer you here.")

    def __init__(self, sentence: Sentence | None = None, *, by: str = "") -> None:
        super().__init__(sentence)
        self.by = by

    @property
    def kind(self) -> str:
        """What does not allow it."""
        return self.by or super().kind


class Refusal(Sentence):
    """Why somebody may not ask, with the setting that says so."""

    setting: str

    @classmethod
    def by(cls, setting: str, sentence: Sentence) -> Self:
        """A refusal in these words, by this setting."""
        made = cls(sentence.template, **sentence.parts)
        made.setting = setting
        return made


class GivenUp(AnswerFailed):
    """The turn was begun too often without coming to an end."""

    sentence = Sentence("Sorry, I failed at this question several times and gave it up. Please ask it in another way.")


def failure_as_stored(error: str | None) -> AnswerFailed:
    """The failure whose sentence was stored."""
    if error is None:
        return AnswerFailed()
    found = as_it_was_stored(error, WITH_REFERENCE)
    if not found.parts:
        return AnswerFailed(found)
    sentence, reference = (str(found.parts[name]) for name in ("sentence", "reference"))
    return AnswerFailed(Sentence(WITH_REFERENCE, sentence=as_it_was_stored(sentence), reference=reference))
