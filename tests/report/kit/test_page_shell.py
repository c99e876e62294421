"""The question of a config is broken by the page, and only where its author broke it for width."""

from pathlib import Path

import pytest

from lora_jax.report.kit.page_shell import unwrap

CONFIGS = sorted((Path(__file__).parents[3] / "configs").glob("*.py"))


def test_lines_broken_at_a_width_are_joined_and_others_are_not():
    long = "word " * 13
    top = f"Short title?\n\n{long}\nor: goes on,\nand stays here.\n\n"
    text = f"{top}command:  x\nanswer:  {long}\n    goes on\n"
    assert unwrap(text) == (
        f"Short title?\n\n{long} or: goes on,\nand stays here.\n\ncommand:  x\nanswer:  {long} goes on"
    )


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_no_word_of_a_question_is_lost_and_every_key_begins_a_line(path):
    question = path.read_text().split('"""')[1]
    found = unwrap(question)
    assert found.split() == question.split()
    keys = [
        line.split(":")[0] for line in question.splitlines() if line.startswith(("command:", "expected "))
    ]
    assert keys == [
        line.split(":")[0] for line in found.splitlines() if line.startswith(("command:", "expected "))
    ]
