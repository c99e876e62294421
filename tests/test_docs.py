"""The worked example of docs/fit-laboratory.md runs as it is written, and prints what it shows."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "fit-laboratory.md"


def read_blocks() -> list[tuple[str, str]]:
    """Return (language, body) of the page's code blocks in order."""
    return re.findall(r"^```(\w*)\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.slow
def test_the_worked_example_runs_and_says_what_the_page_says(tmp_path: Path, published: Path) -> None:
    env = os.environ | {"PYTHONPATH": str(ROOT), "LORA_JAX_PUBLISHED": str(published)}
    printed = ""
    n_commands = 0
    for language, body in read_blocks():
        if language != "bash":
            for line in filter(None, (part.strip(" .") for part in body.splitlines())):
                words = " ".join(line.split())
                assert words in " ".join(printed.split()), f"the page shows {words!r}, which was not printed"
            continue
        for command in body.splitlines():
            words = shlex.split(command)
            assert words[0] == "lora-jax"
            done = subprocess.run(
                [sys.executable, "-m", "lora_jax.cli", *words[1:]],
                cwd=tmp_path,
                env=env,
                capture_output=True,
                text=True,
                timeout=300,
            )
            assert done.returncode == 0, f"{command}\n{done.stderr}"
            printed = done.stdout
            n_commands += 1
    assert n_commands > 6
    assert (tmp_path / "chinchilla" / "report.html").exists()
    assert (tmp_path / "plan" / "figures" / "design.png").exists()


@pytest.mark.slow
def test_the_example_for_users_of_peft_runs(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "fine-tuning.md").read_text()
    [example] = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-c", example],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert "blocks/attn/q_lora_a" in done.stdout


def test_the_table_of_methods_is_what_the_shapes_give() -> None:
    """Trainable parameters and the share of full fine-tuning's FLOPs, of GPT-2 medium at 512 tokens."""
    from lora_jax.config import ModelConfig
    from lora_jax.peft import methods
    from lora_jax.peft.summary import summarise

    known = dict(methods.find_methods())
    model = ModelConfig(d_model=1024, n_layers=24, n_heads=16, vocab_size=50257, context=1024)
    rows = re.findall(
        r"^\| `(\w+\([^`]*\))` \|.*?\| ([\d,]+) \| ([\d.]+) \| (yes|no|) \|",
        (ROOT / "docs" / "fine-tuning.md").read_text(),
        re.MULTILINE,
    )
    assert len(rows) == len(known) - 1, "a row for every method but Combined"
    for code, n_trainable, share, merges in rows:
        method = eval(code, known).build(model)
        found = summarise(model, method, 512)
        assert f"{found.n_trainable:,}" == n_trainable, code
        assert found.flops_per_token / found.full_flops_per_token == pytest.approx(float(share), abs=0.006), (
            code
        )
        assert merges in ("", "yes" if method.merge else "no")


def test_links_lead_somewhere() -> None:
    for page in ROOT.glob("docs/*.md"):
        targets = re.findall(r"\]\(([^)#\s]+)", page.read_text())
        missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
        assert not missing, f"{page.name} links to {missing}"


def test_files_are_named_by_markdown_alone() -> None:
    """The site copies the files that Markdown names (docs/site_files.py); an HTML tag's would be missing."""
    for page in ROOT.glob("docs/*.md"):
        found = re.findall(r"<(?:img|a)\b[^>]*>", page.read_text())
        assert not found, f"{page.name} has {found}"
