"""The head of a page: its question, broken only where its author broke it, what is folded, what is not."""

from pathlib import Path

import pytest

from lora_jax.report.kit.page_shell import MOST_LINES, make_document, show_sentences, unwrap

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


def test_a_page_begins_with_the_question_and_folds_what_follows_it():
    page = make_document("name", "kind", "Is a < b?\n\nTwo runs.\ncommand: x", [("a", "A", "answer")], "")
    head, _, rest = page.partition("<nav>")
    assert '<p class="question">Is a &lt; b?</p>' in head
    folded = head.partition("<details>")[2]
    assert "Two runs.\ncommand: x" in folded
    assert "answer" in rest
    assert "<details>" not in make_document("name", "kind", "Is a < b?", [], "")


def test_a_command_below_a_heading_is_shown_as_it_is_typed():
    page = make_document("name", "kind", "lora-jax fit a.csv --law chinchilla", [], "")
    assert "<pre>lora-jax fit a.csv --law chinchilla</pre>" in page


@pytest.mark.parametrize("n", [0, 1, MOST_LINES, MOST_LINES + 1, MOST_LINES + 2, 30])
def test_sentences_are_all_there_and_many_are_folded(n):
    lines = [f"line {i}" for i in range(n)]
    shown, _, folded = show_sentences(lines).partition("<details>")
    assert [f"<p>{line}</p>" in shown + folded for line in lines] == [True] * n
    assert shown.count("<p>") == (n if n <= MOST_LINES + 1 else MOST_LINES)
    assert (f"Show {n - MOST_LINES} more" in folded) == (n > MOST_LINES + 1)
