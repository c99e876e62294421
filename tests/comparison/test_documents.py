"""comparison.json: read, written again the same, drawn again, refused in a sentence where it is not whole."""

import json
import re
import shutil
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from lora_jax.comparison.documents import (
    comparison_from_document,
    comparison_to_document,
    read_comparison,
    save_comparison,
)
from lora_jax.comparison.folder import read_runs
from lora_jax.comparison.results import FORMAT, KIND
from lora_jax.digests import digest_json
from lora_jax.documents import Unreadable
from lora_jax.errors import LoraJaxError
from lora_jax.files import load_json, to_json
from lora_jax.report.methods.page import write_method_report
from tests.report.method_folder import compare, make_record, make_records, write_folder

PUBLISHED = Path(__file__).parents[2] / "results" / "published"
COMPARISONS = sorted(path for path in PUBLISHED.rglob("comparison.json") if load_json(path)["kind"] == KIND)


def as_read(document: Any) -> Any:
    """Return a document as it comes back from a file."""
    return json.loads(to_json(document))


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return as_read(comparison_to_document(compare(make_records(60))))


@pytest.mark.parametrize("path", COMPARISONS, ids=lambda path: path.parent.name)
def test_every_published_comparison_is_read_and_written_again_the_same(path: Path, tmp_path: Path) -> None:
    found = read_comparison(path)
    published = load_json(path)
    published.pop("digest", None)
    again = as_read(comparison_to_document(found))
    assert json.dumps(again) == json.dumps(published), "also the order of the keys"
    save_comparison(tmp_path / "comparison.json", found)
    assert load_json(tmp_path / "comparison.json")["digest"] == digest_json(published)


@pytest.mark.parametrize("path", COMPARISONS, ids=lambda path: path.parent.name)
def test_the_page_of_every_published_comparison_is_drawn_again(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / path.parent.name
    shutil.copytree(path.parent, folder, ignore=shutil.ignore_patterns("figures", "report.html"))
    page = write_method_report(folder)
    text = re.sub(r"\s+", " ", unescape(page.read_text(encoding="utf-8")))
    for line in (*read_comparison(path).verdict, *read_comparison(path).warnings):
        assert line in text
    published = {figure.name for figure in (path.parent / "figures").iterdir()}
    assert {figure.name for figure in (folder / "figures").iterdir()} >= published


def test_published_comparisons_are_found() -> None:
    assert len(COMPARISONS) >= 3


def test_what_is_written_says_its_format_and_comes_back(document: dict[str, Any]) -> None:
    assert document["format"] == FORMAT
    found = comparison_from_document(document)
    assert found == compare(make_records(60))
    assert as_read(comparison_to_document(found)) == document


def test_a_sweep_without_a_score_comes_back_too() -> None:
    found = compare([make_record("Full", rate, 0, [], 0.0) for rate in (1e-3, 3e-3)])
    assert comparison_from_document(as_read(comparison_to_document(found))) == found
    [method] = found.methods
    with pytest.raises(ValueError, match="Full has no score"):
        _ = method.finished_score


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"kind": "laws"}, "is of the kind 'laws', but it must be 'fine-tuning methods'"),
        ({"format": FORMAT + 1}, f"is of format {FORMAT + 1}, and this version reads up to {FORMAT}"),
        ({"seeds": "all"}, "'seeds' is 'all', but it must be a list"),
        ({"n_runs": None}, "'n_runs' is None, but it must be a whole number"),
        ({"methods": [{}]}, r"'methods\[0\]' has no 'label'"),
    ],
)
def test_what_is_no_comparison_is_refused(document: dict[str, Any], changed: Any, match: str) -> None:
    with pytest.raises(Unreadable, match=match):
        comparison_from_document(document | changed)


def test_a_file_that_lacks_something_is_named(document: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "comparison.json"
    path.write_text(to_json({name: part for name, part in document.items() if name != "ranking"}))
    with pytest.raises(LoraJaxError, match=r"comparison.json has no 'ranking': run `lora-jax fit` again"):
        read_comparison(path)


def test_a_record_that_lacks_something_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path, make_records(20)[:2])
    path = sorted(tmp_path.glob("runs/*.json"))[0]
    record = json.loads(path.read_text())
    del record["finetuning"]["test_values"]
    path.write_text(json.dumps(record))
    with pytest.raises(LoraJaxError, match=f"{path.name} 'finetuning' has no 'test_values'"):
        read_runs(tmp_path)
