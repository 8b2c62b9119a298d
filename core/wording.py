"""Bob's own words in what is stored as an answer, and how that reads in other languages than English."""

from __future__ import annotations

from core.languages import ENGLISH, Sentence, as_it_was_stored, language_of

PASSWORD_ALONE = (
    "I heard the password. It opens {name} for one message at a time: say it again together with what you want to ask, "
    "and {name} answers that message."
)
CUT_OFF = {
    "max_output_tokens": Sentence("*(The answer was cut off here: it reached its length limit.)*"),
    "content_filter": Sentence("*(The answer was cut off here by the language model's content filter.)*"),
}
CUT_OFF_SOMEHOW = Sentence("*(The answer was cut off here.)*")


def answer_in_language(answer: str, locale: str) -> str:
    """An answer, also a part of one that grows, with our own words in it translated; the model's stay as they are."""
    if language_of(locale) in (None, ENGLISH):
        return answer
    for note in (*CUT_OFF.values(), CUT_OFF_SOMEHOW):
        if note in answer:  # a paragraph of its own
            paragraphs = [note.in_language(locale) if each == note else each for each in answer.split("\n\n")]
            answer = "\n\n".join(paragraphs)
    if answer.startswith(PASSWORD_ALONE.partition("{")[0]):
        return as_it_was_stored(answer, PASSWORD_ALONE).in_language(locale)
    return answer
