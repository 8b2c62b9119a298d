"""What is found out about a test before it is run."""

from __future__ import annotations

import collections
import itertools
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.choosing import begun_early, meeting_each, starts_something
from tests.fakes.openai_api import FakeOpenAI


def asks_a_fake() -> None:
    with FakeOpenAI():
        pass


def asks_through_another() -> None:
    def within() -> None:
        asks_a_fake()

    within()


def runs_a_command() -> None:
    subprocess.run(["true"], check=True)


@given(st.none())
def draws_and_asks(_: None) -> None:
    asks_a_fake()


class Asking:
    def ask(self) -> None:
        asks_a_fake()


def asks_by_a_method() -> None:
    Asking().ask()


def names_a_fake_as_a_type(fake: FakeOpenAI) -> str:
    return str(fake)


@given(st.none())
def draws(_: None) -> None:
    str(1)


@pytest.mark.parametrize("test", [asks_a_fake, asks_through_another, runs_a_command, draws_and_asks, asks_by_a_method])
def test_what_starts_something_is_found_however_it_does(test: object) -> None:
    assert starts_something(test)


@pytest.mark.parametrize("test", [names_a_fake_as_a_type, draws])
def test_what_starts_nothing_is_quick(test: object) -> None:
    assert not starts_something(test)


def test_long_tests_are_begun_first_by_every_third_worker_and_none_is_left_out() -> None:
    tests = [*range(70)]
    ordered = begun_early(tests, [each >= 60 for each in tests], 7)
    assert sorted(ordered) == tests
    assert [ordered[at : at + 10].count(each) for at in (0, 30, 60) for each in range(60, 70)].count(1) == 10
    assert all(ordered[at] >= 60 for at in (0, 30, 60))
    assert all(each < 60 for at in (10, 20, 40, 50) for each in ordered[at : at + 10])


@pytest.mark.parametrize("long", [0, 1, 9, 10])
@pytest.mark.parametrize("workers", [1, 2, 7, 20])
def test_however_few_the_tests_and_many_the_workers_each_test_is_there_once(long: int, workers: int) -> None:
    assert sorted(begun_early([*range(10)], [each < long for each in range(10)], workers)) == [*range(10)]


DATABASES, MODES, FAULTS = (
    ("sqlite", "postgresql"),
    ("conversations", "local"),
    ("refused", "lost", "slow", "cut", "late"),
)


@pytest.mark.parametrize("times", [1, 2])
def test_of_crossed_tables_each_case_is_met_so_often_and_with_others_by_turns(times: int) -> None:
    crossing = [{*each} for each in itertools.product(DATABASES, MODES, FAULTS)]
    kept = meeting_each(crossing, times=times)
    met = collections.Counter(itertools.chain.from_iterable(crossing[at] for at in kept))
    assert len(kept) == times * len(FAULTS)
    assert all(met[fault] == times for fault in FAULTS)
    assert all(abs(met[one] - met[other]) <= 1 for one, other in (DATABASES, MODES))


def test_what_is_crossed_too_seldom_is_met_as_often_as_it_can_be() -> None:
    assert meeting_each([{"a", "x"}, {"a", "y"}], times=3) == {0, 1}
