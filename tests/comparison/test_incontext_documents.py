"""incontext.json: read, written again the same, and refused in a sentence where it is not whole."""

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from lora_jax.cli import main
from lora_jax.comparison import gradient_results
from lora_jax.comparison.incontext_documents import (
    BACKWARD,
    NAME,
    incontext_from_document,
    incontext_to_document,
    load_backward,
    load_incontext,
    save_backward,
    save_incontext,
)
from lora_jax.comparison.incontext_folder import read_records, write_incontext
from lora_jax.comparison.incontext_results import FORMAT
from lora_jax.errors import LoraJaxError
from lora_jax.files import load_json, to_json

PUBLISHED = Path(__file__).parents[2] / "results" / "published"
FILES = sorted(PUBLISHED.rglob(NAME))


def read_plain(path: Path) -> dict[str, Any]:
    return {name: part for name, part in load_json(path).items() if name != "digest"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_what_is_published_is_read_and_written_again_the_same(path: Path) -> None:
    document = read_plain(path)
    again = incontext_to_document(load_incontext(path.parent))
    assert to_json(again) == to_json(document)


@pytest.mark.parametrize("path", sorted(PUBLISHED.rglob(BACKWARD)), ids=lambda path: path.parent.name)
def test_what_a_gradient_costs_is_written_again_the_same(path: Path, tmp_path: Path) -> None:
    assert load_backward(tmp_path) is None
    costs = load_backward(path.parent)
    assert costs is not None
    save_backward(tmp_path, costs)
    assert to_json(read_plain(tmp_path / BACKWARD)) == to_json(read_plain(path))
    save_backward(tmp_path, dataclasses.replace(costs, format=gradient_results.FORMAT))
    written = read_plain(tmp_path / BACKWARD)
    assert (written["kind"], written["format"]) == (gradient_results.KIND, gradient_results.FORMAT)
    assert load_backward(tmp_path) == dataclasses.replace(costs, format=gradient_results.FORMAT)
    for wrong, words in (({"kind": "other"}, "of the kind 'other'"), ({"format": 99}, "of format 99")):
        (tmp_path / BACKWARD).write_text(json.dumps({**written, **wrong}))
        with pytest.raises(LoraJaxError, match=words):
            load_backward(tmp_path)
    (tmp_path / BACKWARD).write_text('{"base": "lm"}')
    with pytest.raises(LoraJaxError, match=r"backward\.json has no 'model': delete it"):
        load_backward(tmp_path)


@pytest.mark.slow  # all figures of a page
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_the_command_report_draws_the_page_again(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "incontext"
    shutil.copytree(path.parent, folder, ignore=shutil.ignore_patterns("figures", "report.html"))
    assert main(["report", str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder / 'report.html'}\n"
    page = unescape((folder / "report.html").read_text(encoding="utf-8"))
    text = page.replace("\N{NO-BREAK SPACE}", " ")  # between a number and its sign
    for line in (*load_incontext(folder).verdict, *load_incontext(folder).warnings):
        assert line in text
    published = {figure.name for figure in (path.parent / "figures").iterdir()}
    assert {figure.name for figure in (folder / "figures").iterdir()} == published


def test_published_comparisons_are_found() -> None:
    assert FILES


def test_what_is_written_says_its_format_and_comes_back(tmp_path: Path) -> None:
    found = load_incontext(FILES[0].parent)
    assert found.format == 1
    for kind in ("prompts", "runs", "sweep.json"):
        (tmp_path / kind).symlink_to(FILES[0].parent / kind)
    again = write_incontext(tmp_path)
    assert load_json(tmp_path / NAME)["format"] == again.format == FORMAT
    assert load_incontext(tmp_path) == again
    document = {name: part for name, part in read_plain(tmp_path / NAME).items() if name != "format"}
    assert document.keys() == read_plain(FILES[0]).keys()
    save_incontext(tmp_path, found)
    assert load_incontext(tmp_path) == found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(kind="other"), "is of the kind 'other'"),
        (lambda d: d.pop("estimator"), "has no 'estimator'"),
        (lambda d: d["tasks"][0]["lines"][1].pop("way"), "'tasks[0].lines[1]' has no 'way'"),
        (lambda d: d.update(n_runs="many"), "'n_runs' is 'many', but it must be a whole number"),
        (lambda d: d.update(format=FORMAT + 1), f"is of format {FORMAT + 1}"),
    ],
)
def test_what_is_not_whole_is_said_by_the_keys_that_lead_there(
    change: Callable[[dict[str, Any]], object], words: str, tmp_path: Path
) -> None:
    document = read_plain(FILES[0])
    change(document)
    (tmp_path / NAME).write_text(json.dumps(document))
    with pytest.raises(LoraJaxError, match=re.escape(words)) as caught:
        load_incontext(tmp_path)
    assert "run `lora-jax incontext` first" in str(caught.value)


def test_a_record_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "k0.json").write_text(json.dumps({"run_id": "k0"}))
    with pytest.raises(LoraJaxError, match=r"prompts/k0\.json .*has no 'device'.*delete it"):
        read_records(tmp_path)


def test_a_document_is_the_same_whatever_made_it() -> None:
    found = load_incontext(FILES[0].parent)
    assert incontext_from_document(json.loads(to_json(incontext_to_document(found)))) == found
