"""Every published in-context comparison is drawn again from its files."""

from pathlib import Path

import pytest

from lora_jax.comparison.incontext_documents import NAME, load_incontext
from lora_jax.report.incontext.page import write_incontext_report
from lora_jax.report.kit.markup import to_markup

PUBLISHED = Path(__file__).parents[3] / "results" / "published"
FOLDERS = sorted(path.parent for path in PUBLISHED.rglob(NAME))
READ = ("sweep.json", NAME, "backward.json", "prompts", "runs")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_published_page_is_drawn_again(folder: Path, tmp_path: Path) -> None:
    for name in READ:
        (tmp_path / name).symlink_to(folder / name)
    page = write_incontext_report(tmp_path).read_text()
    found = load_incontext(folder)
    for line in (*found.verdict, *found.warnings):
        assert to_markup(line) in page
    drawn = {path.name for path in (tmp_path / "figures").iterdir()}
    assert drawn == {path.name for path in (folder / "figures").iterdir()}
    assert "compare them again" not in page
