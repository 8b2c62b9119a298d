"""The simulation finds Bobs in which a promise is broken on purpose."""

from __future__ import annotations

import ast

import pytest

from tests.broken.builds import ROOT, BrokenBuild
from tests.simulated.broken import SUBTLE, TO_FIND, WHERE, is_found


@pytest.mark.parametrize("build", SUBTLE, ids=lambda build: build.name)
def test_each_subtle_build_is_one_change_of_the_present_source_that_still_can_be_read(build: BrokenBuild) -> None:
    source = (ROOT / build.file).read_text(encoding="utf-8")
    assert ast.dump(ast.parse(build.broken(source))) != ast.dump(ast.parse(source))
    assert {each.name for each in TO_FIND} == set(WHERE)


@pytest.mark.thorough
@pytest.mark.parametrize("build", TO_FIND, ids=lambda build: build.name)
def test_a_broken_build_is_found(build: BrokenBuild) -> None:
    assert is_found(build)
