"""A results folder of fine-tuning runs: read its records, write its comparison."""

from pathlib import Path

from lora_jax.comparison.documents import save_comparison
from lora_jax.comparison.made_by import command_of
from lora_jax.comparison.methods import compare_methods
from lora_jax.comparison.results import KIND, MethodComparison
from lora_jax.comparison.tuned_runs import TunedRun, read_run
from lora_jax.digests import read_result
from lora_jax.errors import LoraJaxError


def is_finetuning(folder: Path) -> bool:
    """Does a folder hold a comparison of methods (not of laws), or fine-tuning runs?"""
    comparison = folder / "comparison.json"
    if comparison.exists() and read_result(comparison).get("kind") == KIND:
        return True
    first = next(iter(_record_paths(folder)), None)
    return first is not None and read_result(first).get("finetuning") is not None


def read_runs(folder: Path) -> list[TunedRun]:
    """Return the runs in the order of the sweep's run_ids. Runs that it does not name come last.

    Raises:
        LoraJaxError: There is no run, or a record cannot be read.
    """
    paths = _record_paths(folder)
    if not paths:
        raise LoraJaxError(
            f"{folder / 'runs'} holds no run: run `{command_of(folder, 'lora-jax finetune')}` first."
        )
    sweep = folder / "sweep.json"
    order = read_result(sweep).get("run_ids", []) if sweep.exists() else []
    place = {run_id: i for i, run_id in enumerate(order)}
    paths.sort(key=lambda path: (place.get(path.stem, len(place)), path.stem))
    return [read_run(path) for path in paths]


def write_comparison(folder: Path) -> MethodComparison:
    """Compare the methods of a folder, write comparison.json there, and return what was found."""
    found = compare_methods(read_runs(folder))
    save_comparison(folder / "comparison.json", found)
    return found


def _record_paths(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("runs/*.json") if not path.name.startswith("."))
