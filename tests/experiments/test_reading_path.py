"""From experiments/scaling.py to the loss of a batch: only through the files docs/architecture.md lists."""

import re
import traceback
from pathlib import Path

import jax
import pytest

from lora_jax.model import transformer
from tests.experiments.place import ROOT, Place
from tests.experiments.test_dry_run import load_driver

MOST_FILES = 12
# These hand a call on without a word about training: mistakes and signals become a line.
HANDED_ON = {"lora_jax/cli.py", "lora_jax/runs/signals.py"}


class Arrived(BaseException):
    """The model reads its first batch."""


def listed() -> list[str]:
    """Return the files of the section, in its order."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = page.split("## From experiments/scaling.py to the loss of a batch")[1].split("\n## ")[0]
    return re.findall(r"^\d+\. `([\w/]+\.py)`", section, re.MULTILINE)


def test_the_list_is_short_and_its_files_are_there() -> None:
    assert 0 < len(listed()) <= MOST_FILES
    assert all((ROOT / name).is_file() for name in listed())


def test_the_calls_pass_through_the_listed_files_alone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def arrive(*_: object) -> None:
        for frame in traceback.extract_stack():
            path = Path(frame.filename)
            if path.is_relative_to(ROOT) and "tests" not in path.relative_to(ROOT).parts[:1]:
                seen.append(path.relative_to(ROOT).as_posix())
        raise Arrived

    jax.clear_caches()
    monkeypatch.setenv("LORA_JAX_CACHE", str(place.folder / "cache"))
    monkeypatch.chdir(place.folder)
    monkeypatch.setattr(transformer, "embed", arrive)
    arguments = [place.config, "--lanes", "1", "--tracker", "off", "--out", place.folder / "path"]
    with pytest.raises(Arrived):
        load_driver("scaling").main(list(map(str, arguments)))
    passed = [name for name in dict.fromkeys(seen) if not name.startswith(".venv/")]
    assert set(passed) <= set(listed()) | HANDED_ON
    on_the_list = [name for name in listed() if name in passed]
    assert [name for name in passed if name not in HANDED_ON] == on_the_list, "in the order of the calls"
