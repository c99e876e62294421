"""What the README and docs/usage.md tell a reader to type works with a clone and package installs alone."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lora_jax.files import find_cache
from tests.compilation import as_for_use

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/usage.md")
# Seconds each, and nothing before them is needed.
FAST = ("laws", "design", "plan", "sizes")
SMALL = "model.d_model=16 model.n_heads=2 optim.batch_size=32 seed=0"  # a width, a seed, five lengths
# What takes minutes is made shorter by what follows it; a dry run too, if it is of the same folder.
SHORTER = {
    "./launch.sh quickstart": SMALL,
    "./launch.sh test": "--collect-only -q -n 0 tests/test_params.py",
    "./launch.sh latency": "--trials 6",
    "./launch.sh scaling configs/quickstart.py --workers": SMALL,
    "./launch.sh scaling configs/learning_rate.py": "model.d_model=12 n_tokens=65536",
    "./launch.sh coordinates": "model.d_model=16 model.n_heads=2 model.base_width=16 --steps 1 --late 2",
    "./launch.sh bench": "--only startup --repeats 1",
    "./launch.sh finetune configs/peft_sample.py": '--only "LoRA r 4" task.n_train=96 task.n_test=48',
    "./launch.sh incontext configs/incontext_sample.py": "--stage prompts",
}


def read_blocks(*languages: str) -> list[str]:
    """Return the code blocks of both pages in one of `languages`."""
    text = "\n".join((ROOT / page).read_text() for page in PAGES)
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [body for language, body in blocks if language in languages]


def read_lines() -> list[str]:
    """Return every shell line of both pages, without its comment.

    `fetch` comes first: `finetune` fetches its base by itself, but the tests give a network to `fetch` alone.
    """
    lines = "\n".join(read_blocks("bash", "sh", "console")).replace("\\\n", " ").splitlines()
    lines = [line.split(" #")[0].strip() for line in lines if line.split("#")[0].strip()]
    return sorted(lines, key=lambda line: " fetch " not in line)


def read_commands() -> list[list[str]]:
    """Return the words of every shell line of both pages that runs ./launch.sh or lora-jax."""
    lines = read_lines()
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
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=60,
            )
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


@pytest.mark.slow  # two fits, a model and two processes
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
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{example}\n{done.stderr}"


# ---- every command, in order, in a clone


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout with nothing beside it and an empty cache, but for models fetched before."""
    place = tmp_path_factory.mktemp("readme")
    hidden = shutil.ignore_patterns(".*", "__pycache__", "wandb", "build", "dist", "*.egg-info")
    folder = place / "clone"
    shutil.copytree(
        ROOT, folder, ignore=lambda at, names: {*hidden(at, names), *(["results"] if at == str(ROOT) else [])}
    )
    shutil.copytree(ROOT / "results" / "published", folder / "results" / "published")
    fetched = find_cache() / "models"
    if fetched.is_dir():
        shutil.copytree(fetched, place / "cache" / "models")
    return folder


def run_line(line: str, clone: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of shell; of a network only `fetch` knows."""
    gone = (
        "LORA_JAX_TASKS",
        "LORA_JAX_PUBLISHED",
        "TFDS_DATA_DIR",
        "JAX_COMPILATION_CACHE_DIR",
    )
    env = {name: value for name, value in as_for_use(os.environ).items() if name not in gone} | {
        "LORA_JAX_PYTHON": sys.executable,
        "LORA_JAX_CACHE": str(clone.parent / "cache"),
        "HOME": str(clone.parent / "home"),
    }
    if " fetch " not in line:
        env |= dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    return subprocess.run(
        ["bash", "-c", line], cwd=clone, env=env, capture_output=True, text=True, timeout=900
    )


def mark(line: str) -> object:
    words = line.split()
    fast = words[1] in FAST or ("scaling" in words and "--dry-run" in words)
    return pytest.param(line, id=" ".join(words[1:4]), marks=() if fast else pytest.mark.slow)


@pytest.mark.parametrize("line", [mark(line) for line in read_lines()])
def test_every_command_runs_in_a_clone(line: str, clone: Path) -> None:
    is_dry_elsewhere = {"--dry-run", "--out"} <= set(line.split())
    shorter = [rest for start, rest in SHORTER.items() if line.startswith(start) and not is_dry_elsewhere]
    if importlib.util.find_spec("torch") is None:
        line = line.replace(" --torch", "")  # which launch.sh installs, a gigabyte
    done = run_line(" ".join([line, *shorter]), clone)
    if " fetch " in line and "needs a connection" in done.stderr:
        pytest.skip("no package index answers")
    if "fetch it (" in done.stderr:
        pytest.skip("its base could not be fetched")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_what_the_commands_leave_is_where_the_readme_says(clone: Path) -> None:
    results = clone / "results"
    if not (results / "fitted").exists():
        pytest.skip("the commands before it did not run")
    assert (results / "fitted" / "fit.json").exists()
    assert {path.name for path in (results / "quickstart").iterdir()} >= {
        "report.html",
        "figures",
        "fits.json",
        "runs.csv",
        "runs",
        "wandb",
    }
    if (results / "peft_sample").exists():
        assert (results / "adapter" / "adapter_model.safetensors").exists()
        assert (results / "merged" / "model.safetensors").exists()
        assert (results / "incontext_sample" / "report.html").exists()
    published = {
        p.relative_to(ROOT): p.read_bytes() for p in ROOT.glob("results/published/**/*") if p.is_file()
    }
    assert all((clone / path).read_bytes() == content for path, content in published.items())


@pytest.mark.parametrize("variable", ["LORA_JAX_TASKS", "LORA_JAX_PUBLISHED", "WANDB_MODE"])
def test_the_readme_names_the_variables(variable: str) -> None:
    assert variable in (ROOT / "README.md").read_text()


def find_numbers(page: str) -> list[str]:
    """Return the numbers of a page as a reader sees it.

    A number is any figure in prose or tables: digits, with what points and commas they have between them. The
    two ends of an interval are two numbers, and the 2 of SST-2 is one. Code in blocks or backticks, the
    targets of links and the attributes of pictures do not count.
    """
    for unseen in (r"^```.*?^```", r"`[^`\n]*`", r"(?<=\])\([^)\s]*\)", r"<img [^>]*>"):
        page = re.sub(unseen, "", page, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"\d+(?:[.,]\d+)*", page)


def test_numbers_are_counted_as_a_reader_sees_them() -> None:
    page = "`x=1` [2.5 points](a/3.md#4) (-0.4 to 4.9)\n```\n5\n```\nSST-2: 1,200 steps. <img width=6>"
    assert find_numbers(page) == ["2.5", "0.4", "4.9", "2", "1,200"]


def test_the_readme_has_at_most_40_numbers() -> None:
    """More are not read. What is cut belongs into docs/, with its interval."""
    numbers = find_numbers((ROOT / "README.md").read_text())
    assert len(numbers) <= 40, f"{len(numbers)} numbers: {numbers}"


def test_the_readme_is_read_in_two_minutes() -> None:
    """At most 1,000 words, code and tables included. What is cut belongs into docs/."""
    n_words = len((ROOT / "README.md").read_text().split())
    assert n_words <= 1000, f"{n_words} words"
