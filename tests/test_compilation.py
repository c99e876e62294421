"""In a hurry the tests compile with flags that were tried, and a user's run has none of them."""

from importlib.metadata import version
from pathlib import Path

import pytest

from tests.compilation import FAST, HURRIED_FLAGS, TRIED_WITH, as_for_use, compile_in_a_hurry

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"


def test_the_pinned_compiler_is_the_one_whose_flags_were_tried() -> None:
    assert f"jaxlib=={TRIED_WITH}" in CONSTRAINTS.read_text().splitlines()


@pytest.mark.parametrize("flags", ["", "--xla_cpu_max_isa=SSE4_2"])
def test_a_hurried_environment_becomes_again_what_it_was(flags: str) -> None:
    environment = {"HOME": "/", "XLA_FLAGS": flags}
    hurried = dict(environment)
    compile_in_a_hurry(hurried)
    assert hurried[FAST] == "1"
    assert as_for_use(hurried) == environment
    if version("jaxlib") == TRIED_WITH:
        assert hurried["XLA_FLAGS"].split() == [*HURRIED_FLAGS, *flags.split()]


def test_what_an_environment_says_itself_is_kept() -> None:
    own = HURRIED_FLAGS[0].replace("false", "true")
    hurried = {FAST: "0", "XLA_FLAGS": own}
    compile_in_a_hurry(hurried)
    assert hurried[FAST] == "0"
    assert hurried["XLA_FLAGS"].split()[-1] == own
