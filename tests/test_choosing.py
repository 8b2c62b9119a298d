"""What is found out about a test before it is run."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.choosing import starts_something
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
