"""The whole quickstart in a process of its own: seconds, peak memory, and how far its sweep reaches."""

import csv
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.child import Cost, run_child
from benchmarks.figures import Figure, Row, Section
from lora_jax.errors import LoraJaxError
from lora_jax.timing import Say

SECONDS_AT_MOST, GIGABYTES_AT_MOST = 300.0, 2.0


def measure_quickstart(repeats: int, say: Say, command: Sequence[str]) -> Section:
    """Run `command --out FOLDER` with a temporary results folder and empty caches, as after installation."""
    costs, runs = [], []
    for number in range(1, repeats + 1):
        say(f"quickstart {number}/{repeats}: some minutes")
        with tempfile.TemporaryDirectory() as folder:
            costs.append(_run(command, Path(folder)))
            runs = read_runs(Path(folder) / "results" / "runs.csv")
    return make_section(costs, runs)


def make_section(costs: Sequence[Cost], runs: Sequence[tuple[int, int]]) -> Section:
    """Turn the costs, and (N, D) of the runs, into figures."""
    sizes, tokens = {n for n, _ in runs}, {d for _, d in runs}
    row = Row(
        "quickstart",
        {
            "runs": len(runs),
            "sizes": len(sizes),
            "n_params": [min(sizes), max(sizes)],
            "token_counts": len(tokens),
            "n_tokens": [min(tokens), max(tokens)],
        },
        (
            Figure("wall time", "s", tuple(cost.seconds for cost in costs), SECONDS_AT_MOST),
            Figure("peak memory", "GB", tuple(1e-9 * cost.peak_bytes for cost in costs), GIGABYTES_AT_MOST),
        ),
    )
    return Section(
        "quickstart",
        "The whole quickstart, from an empty cache to the report",
        (row,),
        note=f"{len(runs)} runs: {len(sizes)} sizes over {max(sizes) / min(sizes):.0f}-fold N,"
        f" {len(tokens)} token counts over {max(tokens) / min(tokens):.0f}-fold D. Memory: resident, of the"
        " largest of its processes.",
    )


def read_runs(table: Path) -> list[tuple[int, int]]:
    """Return (N without embeddings, D) of every run of a runs.csv."""
    with table.open(newline="") as file:
        return [(int(row["n_params"]), int(row["n_tokens"])) for row in csv.DictReader(file)]


def _run(command: Sequence[str], folder: Path) -> Cost:
    printed = folder / "printed.txt"
    hidden = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE")
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    env["LORA_JAX_CACHE"] = str(folder / "cache")
    cost = run_child([*command, "--out", str(folder / "results")], env, printed)
    if cost.exit_status:
        last = printed.read_text().strip().splitlines()[-1:]
        raise LoraJaxError(
            f"{' '.join(command)} ended with status {cost.exit_status}, but it must end with 0 (its last"
            f" line: {last}): run it by itself."
        )
    return cost
