import ast
import functools
import re

import pytest

from tests.broken.builds import ROOT
from tests.mutants.table import MUTANTS, Mutant


@functools.cache
def dumped(source: str) -> str:
    return ast.dump(ast.parse(source))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.breaks.replace(" ", "_"))
def test_each_mistake_is_one_change_of_the_present_source_near_tests_that_are_there(mutant: Mutant) -> None:
    source = mutant.file(ROOT).read_text(encoding="utf-8")
    assert ast.dump(ast.parse(mutant.broken(source))) != dumped(source)
    names = " ".join(re.findall(r"def (test_\w+)", (ROOT / mutant.tests).read_text(encoding="utf-8")))
    assert any(word in names for word in re.split(r"\W+|\bor\b|\band\b|\bnot\b", mutant.only) if word)
