"""The names of `import lora_jax as lj`."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import lora_jax as lj
from lora_jax.extras import TRAIN

ROOT = Path(__file__).parents[2]


def test_every_name_is_there_and_says_what_it_is() -> None:
    for name, home in lj._HOMES.items():
        value = getattr(lj, name)
        assert value is getattr(importlib.import_module(home), name)
        assert name in dir(lj)
        assert not callable(value) or inspect.getdoc(value), name


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse((ROOT / "lora_jax" / "__init__.py").read_text())
    seen = {
        (alias.name, node.module)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module in set(lj._HOMES.values())
        for alias in node.names
    }
    assert seen == set(lj._HOMES.items())
    assert (ROOT / "lora_jax" / "py.typed").exists()


def test_another_name_is_none_of_ours() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'fitt' \(nearest: 'fit'\)"):
        lj.fitt  # noqa: B018


def test_a_module_is_imported_from_the_package_before_any_other() -> None:
    """Python asks `__getattr__` for a module first, and that must not ask for a module in the same way."""
    for name in ("errors", "files", "percent"):
        code = f"from lora_jax import {name}"
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


# Stands for an installation of the core alone: the modules of the extra are not to be found.
BLOCK = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
"""


def run_without_extras(code: str) -> subprocess.CompletedProcess[str]:
    program = BLOCK.format(absent=set(TRAIN)) + code
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


def test_the_core_needs_no_jax(tmp_path: Path) -> None:
    """`fit`, `compare`, `design`, `report` and the notebook's side of them."""
    table = ROOT / "results" / "published" / "scaling_cpu"
    code = f"""
import lora_jax as lj
from lora_jax.cli import main
out = {str(tmp_path)!r}
few = ["--bootstrap", "40"]
assert main(["fit", {str(table)!r}, *few, "--out", out]) == 0
assert main(["fit", {str(table / "runs.csv")!r}, "--law", "chinchilla", *few, "--out", out + "/law"]) == 0
assert main(["compare", {str(table / "runs.csv")!r}, "--laws", "chinchilla", "power-n"]) == 0
assert main(["design", "--flops", "1e18"]) == 0
assert main(["laws"]) == 0
lj.fit("power-n", {str(table)!r}, n_bootstrap=40)._repr_html_()
"""
    done = run_without_extras(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments", [["scaling", "quickstart", "--dry-run"], ["finetune", "configs/peft_sample.py"], ["sizes"]]
)
def test_what_needs_more_says_what_to_install(arguments: list[str]) -> None:
    done = run_without_extras(f"from lora_jax.cli import main\nsys.exit(main({arguments!r}))")
    assert done.returncode == 2, done.stderr
    [line] = done.stderr.splitlines()
    assert line.endswith("pip install 'lora-jax[train]'.")


def test_a_name_that_needs_more_says_what_to_install() -> None:
    done = run_without_extras("import lora_jax as lj\nlj.LoRA(rank=2)")
    assert "lora_jax.LoRA: This needs the package jax" in done.stderr


def test_the_extra_is_told_whole() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    packages = {line.split(">")[0].split(";")[0] for line in project["optional-dependencies"]["train"]}
    modules = {name.replace("-", "_") for name in packages - {"importlib_resources"}}
    assert modules - {"orbax_checkpoint"} <= TRAIN
    assert "orbax" in TRAIN
