"""The checks of a code host are those of .ci/run, with the linter that constraints.txt pins."""

import re
from pathlib import Path

from tests.conftest import LONGEST

ROOT = Path(__file__).parents[1]


def test_the_workflow_has_the_steps_of_ci_run() -> None:
    steps = re.findall(r"^step (\w+) (\d+) (.+)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    workflow = (ROOT / ".github" / "workflows" / "check.yml").read_text()
    jobs = re.findall(r"- name: (\w+)\n\s+command: (.+)\n\s+minutes: (\d+)$", workflow, re.MULTILINE)
    set_up, *others = steps
    assert set_up[0] == "setup", "which a job does with its first command"
    assert jobs == [(name, command, minutes) for name, minutes, command in others]


def test_ruff_is_pinned_once() -> None:
    [pinned] = re.findall(r"^ruff==\S+", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    hooks = re.findall(r"ruff==[\w.]+", (ROOT / ".pre-commit-config.yaml").read_text())
    assert set(hooks) == {pinned}


def test_the_files_that_begin_first_are_there() -> None:
    assert [name for name in LONGEST if not (ROOT / "tests" / name).is_file()] == []
