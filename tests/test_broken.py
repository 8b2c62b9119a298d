import ast

import pytest

from tests.broken.builds import BUILDS, ROOT, BrokenBuild


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.name)
def test_each_broken_build_is_one_change_of_the_present_source_that_still_can_be_read(build: BrokenBuild) -> None:
    source = (ROOT / build.file).read_text(encoding="utf-8")
    assert ast.dump(ast.parse(build.broken(source))) != ast.dump(ast.parse(source))
    assert all((ROOT / test.partition("::")[0]).is_file() for test in build.tests if test.startswith("tests/"))
