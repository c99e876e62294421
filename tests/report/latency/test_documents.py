"""latency.json: read, written again the same, drawn again, and refused in a sentence if it is not whole."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.files import load_json
from lora_jax.report.kit.markup import to_markup
from lora_jax.report.latency.documents import NAME, load_latency, save_latency
from lora_jax.report.latency.page import write_latency
from lora_jax.report.latency.results import FORMAT

PUBLISHED = Path(__file__).parents[3] / "results" / "published"
FILES = sorted(PUBLISHED.rglob(NAME))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_what_is_published_is_read_and_written_again_the_same(path: Path, tmp_path: Path) -> None:
    table = load_latency(path.parent)
    save_latency(tmp_path, table)
    assert (tmp_path / NAME).read_bytes() == path.read_bytes()
    assert load_latency(tmp_path) == table


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_a_published_page_is_drawn_again(path: Path, tmp_path: Path) -> None:
    table = load_latency(path.parent)
    page = write_latency(table, tmp_path).read_text()
    for statement in table.statements:
        before = page.partition(f": {to_markup(statement.claim)}.</p>")[0]
        verdict = before.rpartition(">")[2].lower()
        assert statement.verdict in (verdict, f"is {verdict}"), statement
    drawn = {file.name for file in (tmp_path / "figures").iterdir()}
    assert drawn == {file.name for file in (path.parent / "figures").iterdir()}


def test_published_tables_are_found() -> None:
    assert FILES


def test_a_file_without_a_format_is_read(tmp_path: Path) -> None:
    document = load_json(FILES[0])
    del document["format"]
    (tmp_path / NAME).write_text(json.dumps(document))
    assert load_latency(tmp_path) == load_latency(FILES[0].parent)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(kind="other"), "is of the kind 'other'"),
        (lambda d: d.update(format=FORMAT + 1), f"is of format {FORMAT + 1}"),
        (lambda d: d.pop("sizes"), "has no 'sizes'"),
        (lambda d: d["sizes"][1]["variants"][2].pop("time"), "'sizes[1].variants[2]' has no 'time'"),
        (lambda d: d["sizes"][0]["h_over_l"].update(ci95=[1.0]), "'sizes[0].h_over_l.ci95' has 1 entries"),
    ],
)
def test_what_is_not_whole_is_said_by_the_keys_that_lead_there(
    change: Callable[[dict[str, Any]], object], words: str, tmp_path: Path
) -> None:
    document = load_json(FILES[0])
    change(document)
    (tmp_path / NAME).write_text(json.dumps(document))
    with pytest.raises(LoraJaxError, match=re.escape(words)):
        load_latency(tmp_path)
