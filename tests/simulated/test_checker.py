"""The judge of histories finds each way to break the promise, and nothing where it was kept."""

from __future__ import annotations

import pytest

from core.errors import GivenUp
from tests.simulated.checker import check
from tests.simulated.history import TAKEN_BACK, Asked, History, Session
from tests.simulated.trouble import Lease, Met, Troubles


def answer(mark: str, number: int, *known: str) -> str:
    return f"To {mark} (answer {number}). Known: {' '.join([*known, mark])}. End of answer {number}."


def kinds(shown: list[str], *asked: Asked, forgotten: frozenset[str] = frozenset()) -> list[str]:
    session = Session("k1", "slack", list(asked), shown, set(forgotten))
    return sorted({each.kind for each in check(History([session]))})


A, B, C = (f"Q{number}-k1" for number in (1, 2, 3))


def test_one_answer_each_in_order_and_told_what_was_said_before_is_the_promise() -> None:
    shown = [answer(A, 1), answer(B, 2, A), answer(C, 3, A, B)]
    assert kinds(shown, Asked(A, 0), Asked(B, 1), Asked(C, 2)) == []


@pytest.mark.parametrize(
    ("shown", "found"),
    [
        ([answer(A, 1)], "lost"),
        ([answer(A, 1), answer(B, 2, A), answer(B, 3, A)], "doubled"),
        ([answer(B, 1), answer(A, 2, B)], "reordered"),
        ([answer(A, 1), answer(B, 2)], "reordered"),
        ([answer(A, 1), answer(B, 2, A, A)], "told twice"),
        ([answer(A, 1), answer(B, 2, "Q1-k9", A)], "told to the wrong circle"),
        ([answer(A, 1), answer(B, 2, A), "To Q2-k1 (ans"], "unexplained"),
        ([answer(A, 1), answer(B, 2, A), "Sorry, no. (Reference 1.)"], "apology to an innocent"),
    ],
)
def test_each_way_to_break_it_is_found(shown: list[str], found: str) -> None:
    assert found in kinds(shown, Asked(A, 0), Asked(B, 1))


@pytest.mark.parametrize(("files", "named"), [([1], []), ([1, 1], [1]), ([], [1]), ([0], [])])
def test_a_file_that_is_missing_or_there_twice_or_is_nobodys_is_found(files: list[int], named: list[int]) -> None:
    session = Session("k1", "slack", [Asked(A, 0)], [answer(A, 1)], files=files, named=named)
    assert [each.kind for each in check(History([session]))] == ["files"]


def test_what_was_said_in_private_is_told_to_its_circle_only() -> None:
    private = Asked(A, 0, "private")
    assert kinds([answer(A, 1), answer(B, 2)], private, Asked(B, 1)) == []
    assert kinds([answer(A, 1), answer(B, 2, A)], private, Asked(B, 1)) == ["told to the wrong circle"]
    assert kinds([answer(A, 1), answer(B, 2, A)], Asked(A, 0), Asked(B, 1, "private")) == []


def test_who_answers_has_to_be_whom_the_lines_chose_or_one_that_is_deleted_by_now() -> None:
    def kinds_under(lock: str, *asked: Asked) -> list[str]:
        session = Session("k1", "slack", list(asked), [answer(B, 1)], locks={B: lock} if lock else {})
        return [each.kind for each in check(History([session]))]

    deleted = Asked(A, 0, "private", excuse=TAKEN_BACK)
    assert kinds_under("", Asked(B, 1)) == kinds_under("private", Asked(B, 1, "private")) == []
    assert kinds_under("private", Asked(B, 1)) == ["answered in the wrong circle"]
    assert kinds_under("", Asked(B, 1, "private")) == ["answered in the wrong circle"]
    left = Asked(B, 1, left_by={"private"})
    assert kinds_under("private", deleted, left) == kinds_under("", deleted, left) == []
    assert kinds_under("another", deleted, left) == ["answered in the wrong circle"]


def test_what_was_deleted_after_its_answer_may_be_told_or_not() -> None:
    deleted = Asked(A, 0, excuse=TAKEN_BACK)
    assert kinds([answer(A, 1), answer(B, 2, A)], deleted, Asked(B, 1)) == []
    assert kinds([answer(A, 1), answer(B, 2)], deleted, Asked(B, 1)) == []
    assert kinds([answer(A, 1), answer(B, 2)], Asked(A, 0, excuse="stopped"), Asked(B, 1)) == ["reordered"]


def test_who_took_a_question_back_needs_no_answer_to_it_and_one_leftover_of_it_is_explained() -> None:
    taken_back = Asked(B, 1, excuse="taken back")
    assert kinds([answer(A, 1)], Asked(A, 0), taken_back) == []
    assert kinds([answer(A, 1), "To Q2-k1 (answer 2)\n\n_Stopped._"], Asked(A, 0), taken_back) == []
    assert kinds([answer(A, 1), answer(B, 2, A)], Asked(A, 0), taken_back) == []


def test_nothing_from_before_a_reset_is_told_after_it() -> None:
    forgotten = frozenset({A})
    assert kinds([answer(A, 1), answer(B, 2)], Asked(A, 0), Asked(B, 1), forgotten=forgotten) == []
    assert kinds([answer(A, 1), answer(B, 2, A)], Asked(A, 0), Asked(B, 1), forgotten=forgotten) == [
        "told after a reset"
    ]


def test_an_apology_is_right_only_where_what_befell_the_question_allows_that_sentence() -> None:
    apology, other = "Sorry, it broke off. (Reference 1.)", "Sorry, I gave it up. (Reference 2.)"
    broken = Asked(B, 1, apologies=frozenset({"Sorry, it broke off."}))
    assert kinds([answer(A, 1), apology], Asked(A, 0), broken) == []
    assert kinds([answer(A, 1)], Asked(A, 0), broken) == ["lost"]
    assert kinds([answer(A, 1), other], Asked(A, 0), broken) == ["apology to an innocent", "lost"]
    assert kinds([apology, apology], Asked(A, 0), broken) == ["apology to an innocent", "lost"]
    assert kinds([answer(A, 1), apology], Asked(A, 0), Asked(B, 1, excuse="taken back")) == ["apology to an innocent"]


def in_lines(number: int, lines: list[str], *known: str) -> str:
    told = " ".join([*known, *lines])
    return f"To {'+'.join(lines)} (answer {number}). Known: {told}. End of answer {number}."


def test_lines_that_are_told_once_in_their_order_as_one_question_are_right() -> None:
    lines = Asked(A, 0), Asked(B, 1), Asked(C, 2)
    assert kinds([in_lines(1, [A, B, C])], *lines) == []
    assert kinds([answer(A, 1), in_lines(2, [B, C], A)], *lines) == []
    assert kinds([in_lines(1, [A, B]), answer(C, 2, A, B)], *lines) == []


@pytest.mark.parametrize(
    ("shown", "found"),
    [
        ([in_lines(1, [A, C])], ["lost"]),
        ([in_lines(1, [B, A, C])], ["reordered"]),
        ([in_lines(1, [A, B]), in_lines(2, [B, C], A)], ["doubled", "reordered"]),
        ([in_lines(1, [A, B, B, C])], ["doubled", "told twice"]),
        ([in_lines(1, [A, B]), answer(C, 2, A)], ["reordered"]),
        ([in_lines(1, [A, "Q2-k9", B, C])], ["unexplained"]),
    ],
)
def test_a_line_that_is_dropped_or_told_twice_or_elsewhere_is_found(shown: list[str], found: list[str]) -> None:
    assert kinds(shown, Asked(A, 0), Asked(B, 1), Asked(C, 2)) == found


def test_a_password_in_one_line_makes_all_of_the_question_private() -> None:
    private = Asked(B, 1, "private")
    assert kinds([in_lines(1, [A, B]), answer(C, 2)], Asked(A, 0), private, Asked(C, 2)) == []
    assert kinds([in_lines(1, [A, B]), answer(C, 2, A)], Asked(A, 0), private, Asked(C, 2)) == [
        "told to the wrong circle"
    ]


def test_one_apology_is_for_all_the_lines_of_a_question_and_for_no_other() -> None:
    apology = "Sorry, it broke off. (Reference 1.)"
    told = frozenset({"Sorry, it broke off."})
    lines = [Asked(mark, 0, apologies=told, together={A, B}) for mark in (A, B)]
    assert kinds([apology], *lines) == []
    assert kinds([apology], *lines, Asked(C, 2, apologies=told)) == ["lost"]
    assert kinds([apology], *[Asked(mark, 0, apologies=told) for mark in (A, B)]) == ["lost"]


def troubles() -> Troubles:
    return Troubles(lambda mark: Lease(mark, (mark, 1), "one"), lambda: 0.0)


def apologies(told: Troubles, mark: str, *, is_pinned: bool = False, owner: str = "one", deaths: int = 0) -> set[str]:
    return {*told.right_apologies(mark, deaths=deaths, seconds=1, is_pinned=is_pinned, failed_by={owner})}


@pytest.mark.parametrize(
    ("met", "may_be_told"),
    [
        ([], False),
        ([Met(refusals=1)] * 3, False),
        ([Met(refusals=1)] * 4, True),
        ([Met(silences=1)], False),
        ([Met(refusals=1), Met(silences=1)], True),
        ([Met(seconds_cut_off=18.0)], False),
        ([Met(seconds_cut_off=18.0), Met(breaks=1)], True),
    ],
)
def test_an_apology_takes_as_many_refusals_as_bob_promises_tries(met: list[Met], may_be_told: bool) -> None:
    told = troubles()
    for each in met:
        told.note(A, each)
    assert bool(apologies(told, A)) is may_be_told
    assert not apologies(told, B)


def test_one_break_is_enough_where_what_was_shown_cannot_be_taken_back() -> None:
    told = troubles()
    told.note(A, Met(breaks=1))
    assert apologies(told, A, is_pinned=True)
    assert not apologies(told, A)


def test_a_process_that_saw_five_questions_fail_may_turn_away_a_sixth_and_no_other_process_may() -> None:
    told = troubles()
    for number in range(5):
        assert not apologies(told, A)
        told.note(f"Q{number}-k9", Met(refusals=1))
    assert apologies(told, A)
    assert not apologies(told, A, owner="another")


def test_a_question_is_given_up_after_five_deaths_and_not_before() -> None:
    assert not apologies(troubles(), A, deaths=4)
    assert apologies(troubles(), A, deaths=5) == {GivenUp.sentence}
