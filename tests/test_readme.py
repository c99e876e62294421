"""What the README tells a reader to type works, and what it links to is there."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def read_blocks(*languages: str) -> list[str]:
    """Return the README's code blocks in one of `languages`."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    return [body for language, body in blocks if language in languages]


def read_commands() -> list[list[str]]:
    """Return the words of every shell line of the README that runs ./launch.sh or lora-jax."""
    lines = "\n".join(read_blocks("bash", "sh", "console")).replace("\\\n", " ").splitlines()
    commands = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]
    for words in commands:
        while words and re.fullmatch(r"\w+=.*", words[0]):  # VARIABLE=value in front
            del words[0]
    return [words for words in commands if words and words[0] in ("./launch.sh", "lora-jax")]


def test_the_commands_exist() -> None:
    commands = read_commands()
    assert ["./launch.sh", "quickstart"] in [words[:2] for words in commands]
    for program, name, *arguments in commands:
        line = " ".join([program, name, *arguments])
        of_checkout = name in ("test", "check", "--help") or (ROOT / "experiments" / f"{name}.py").is_file()
        if program == "lora-jax" or not of_checkout:
            done = subprocess.run(
                [sys.executable, "-m", "lora_jax.cli", name, "--help"],
                cwd=ROOT, capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            assert done.returncode == 0, f"{line}: {done.stderr}"
        for word in arguments:
            if word.endswith(".py"):
                assert (ROOT / word).is_file(), f"{line}: there is no {word}"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    targets = re.findall(r"\]\(([^)#\s]+)", text) + re.findall(r"(?:src|href)=\"([^\"#]+)\"", text)
    missing = [target for target in targets if "://" not in target and not (ROOT / target).exists()]
    assert not missing, f"{page} links to {missing}"


def test_the_python_examples_run(tmp_path: Path) -> None:
    """Each in a folder with the checkout's configs and a copy of its published results."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    if (ROOT / "results" / "published").exists():
        shutil.copytree(ROOT / "results" / "published", tmp_path / "results" / "published")
    examples = read_blocks("python", "py")
    assert examples
    for example in examples:
        done = subprocess.run(
            [sys.executable, "-c", example],
            cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, f"{example}\n{done.stderr}"
