"""Bob's own words in what is stored as an answer, and how that reads in other languages than English."""

from __future__ import annotations

from core.languages import ENGLISH, Sentence, as_it_was_stored, language_of

PASSWORD_ALONE = (
    "I heard the password. It opens {name} for one message at a time: say it again together with what you want to ask, "
    "and {name} answers that message."
)
NO_WORDS = Sentence("(no words)")  # a question that is its files, or a mention and nothing else
CUT_OFF = {
    "max_output_tokens": Sentence("*(The answer was cut off here: it reached its length limit.)*"),
    "content_filter": Sentence("*(The answer was cut off here by the language model's content filter.)*"),
}
CUT_OFF_SOMEHOW = Sentence("*(The answer was cut off here.)*")
LARGER = "it is larger than {most} bytes"
TOO_MANY_PIXELS = "it has more than {most} pixels"
NO_TIME_TO_TRANSCRIBE = Sentence("it takes too long to transcribe")
NOTHING_SAID = Sentence("nothing is said in it that could be understood")
RECORDING_REFUSED = Sentence("it cannot be transcribed: it is damaged, or of a kind that is not taken")
RECORDING_TOO_LARGE = Sentence("a recording of more than 25 MB cannot be transcribed")
RECORDING_TOO_LONG = Sentence("it is too long to be transcribed")
TRANSCRIBED_LATER = Sentence("it could not be transcribed now: send it again later")
TRANSCRIBES_NOTHING = Sentence("recordings are not transcribed here")
# Why a file cannot be read, as the process that reads it says it, which knows no sentences; and as the store does.
PROBLEMS_OF_FILES = (
    Sentence("files of this kind cannot be read"),
    Sentence("it cannot be read"),
    Sentence("it has no pages"),
    Sentence("it is damaged, or not what it seems to be"),
    Sentence("it is empty"),
    Sentence("it is encrypted"),
    Sentence("it is encrypted, or of a kind of Office before 2007"),
    Sentence("it takes too long to read"),
    Sentence("it takes too much memory to read"),
    Sentence("it would unpack to too much"),
    Sentence("pictures of this kind cannot be read: a JPEG or PNG can"),
    Sentence("films cannot be read, nor can recordings of this kind"),
    NO_TIME_TO_TRANSCRIBE, NOTHING_SAID, RECORDING_REFUSED, RECORDING_TOO_LARGE, RECORDING_TOO_LONG, TRANSCRIBED_LATER,
    TRANSCRIBES_NOTHING,
    Sentence("this conversation holds as many files as it may: begin a new one, or reset this one"),
    Sentence("I was sent as many files as I may keep in a day"),
    Sentence("the language model refuses it, or another one that came with it"),
)  # fmt: skip


def problem_of_a_file(problem: str) -> Sentence:
    """Why a file cannot be read, as it was stored."""
    sentence = as_it_was_stored(problem, LARGER, TOO_MANY_PIXELS)
    digits = str(sentence.parts.get("most", "")).replace(",", "")
    if not digits.isdecimal():
        return sentence
    most = int(digits)
    return Sentence(LARGER, most=most) if sentence.template == LARGER else Sentence(TOO_MANY_PIXELS, most=most)


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
