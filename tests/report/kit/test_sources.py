"""The links of a page lead to files that are there; what cannot be linked is named."""

import re
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest

from lora_jax.report.kit.sources import show_sources

ROOT = Path(__file__).resolve().parents[3]
REPORT = ROOT / "lora_jax" / "report"
GUIDES = {g for path in REPORT.rglob("*.py") for g in re.findall(r'"(docs/[\w-]+\.md)"', path.read_text())}


def links(html: str) -> dict[str, str]:
    found = re.findall(r'<a href="([^"]*)">([^<]*)</a>', html)
    return {unescape(words): unquote(unescape(address)) for address, words in found}


@pytest.mark.parametrize("guide", sorted(GUIDES))
def test_links_of_a_page_in_the_checkout_open_the_files_they_name(guide):
    folder = ROOT / "results" / "published" / "scaling_cpu"
    found = links(show_sources(folder, "./launch.sh scaling configs/scaling_cpu.py seed=1", guide))
    assert set(found) == {"configs/scaling_cpu.py", guide, "docs/glossary.md"}
    for name, address in found.items():
        assert (folder / address).resolve() == ROOT / name
        assert (folder / address).is_file()


def test_a_config_of_your_own_is_linked_beside_its_results_and_docs_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results" / "mine"
    config = tmp_path / "a#b.py"
    config.write_text("")
    html = show_sources(folder, "lora-jax scaling a#b.py", "docs/latency.md")
    [(name, address)] = links(html).items()
    assert name == "a#b.py"
    assert (folder / address).resolve() == config
    assert "<code>docs/latency.md</code>" in html


@pytest.mark.parametrize(
    "command", ["./launch.sh scaling configs/gone.py", "x <b>.py", "lora-jax latency", ""]
)
def test_what_is_not_there_is_named_and_never_linked(command, tmp_path):
    html = show_sources(tmp_path, command, "docs/latency.md")
    assert links(html) == {}
    assert "<b>" not in html
    config = next((word for word in command.split() if word.endswith(".py")), None)
    assert ("The config is" in html) == (config is not None)


def test_every_kind_of_page_has_its_guide():
    pages = [path for path in REPORT.rglob("*page.py") if path.name != "page_shell.py"]
    by_answer = "guide="  # an answer's page shows its sources by itself
    texts = {path: path.read_text() for path in pages}
    without = [
        path.name for path, text in texts.items() if "show_sources(" not in text and by_answer not in text
    ]
    assert without == []
    assert {"docs/scaling-results.md", "docs/fit-laboratory.md", "docs/fine-tuning.md"} <= GUIDES
