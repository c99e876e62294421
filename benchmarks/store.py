"""What a results folder of 10,000 runs costs: to store one more, to read all, to plan, fit and show them.

This file is also the program of the processes that read, plan, fit and show: a fresh one knows no record.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.figures import Figure, Row, Section
from benchmarks.large_sweep import N_RUNS, claim, list_runs, make_results
from lora_jax.timing import Say

WRITE_AT_MOST, READ_AT_MOST, ALL_AT_MOST = 5.0, 2.0, 20.0  # ms a run, s, s
WALL = "wall time"
BLOCK = 100  # runs that are stored between two readings of the clock
DEVICE = "h200"  # of the plan, so that no matmul is timed


def measure_store(repeats: int, say: Say, n_runs: int = N_RUNS) -> Section:
    """Store n_runs runs; time the last of them, and `repeats` fresh processes that read and conclude."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "large"
        say(f"store: {n_runs:,} runs are stored")
        written, of_cpu = zip(*store_all(folder, n_runs)[-repeats:], strict=True)
        say(f"store: {repeats} rounds of two processes, which read, and plan, fit and show")
        read = [_run("read", folder, n_runs) for _ in range(repeats)]
        concluded = [_run("conclude", folder, n_runs) for _ in range(repeats)]
    settings = {"runs": n_runs}
    stored = (Figure("a run", "ms", written, WRITE_AT_MOST), Figure("CPU a run", "ms", of_cpu))
    rows = (
        Row("store a run", settings, stored),
        Row("read all records", settings, _figures(read, READ_AT_MOST)),
        Row("plan, fit and page", settings, _figures(concluded, ALL_AT_MOST)),
    )
    return Section(
        "store",
        f"A results folder of {n_runs:,} runs",
        rows,
        note=f"Storing: curve, record and row of the table, the mean of {BLOCK} runs with the others there."
        " Reading: every digest and curve is checked, in a fresh process. CPU time is less than wall time by"
        " what the process waited for the disk and for other processes.",
    )


def _figures(rounds: Sequence[Mapping[str, float]], at_most: float) -> tuple[Figure, ...]:
    """Return the seconds of each round as figures, the wall time first."""
    return tuple(
        Figure(key, "s", tuple(one[key] for one in rounds), at_most if key == WALL else None)
        for key in rounds[0]
    )


def store_all(folder: Path, n_runs: int) -> list[tuple[float, float]]:
    """Store the runs of the sweep in a folder; return the milliseconds of wall and CPU a run, by block."""
    runs = list_runs(n_runs)
    store, milliseconds = claim(folder, runs), []
    for begin in range(0, n_runs, BLOCK):
        made = list(make_results(runs[begin : begin + BLOCK]))
        started = time.perf_counter(), time.process_time()
        for record, curve in made:
            store.write(record, curve)
        wall, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
        milliseconds.append((1e3 * wall / len(made), 1e3 * cpu / len(made)))
    return milliseconds


def read(folder: Path, n_runs: int) -> dict[str, float]:
    """Read every record, as each command does first; return the seconds."""
    from lora_jax.runs.store import RunStore

    def find_all() -> None:
        assert len(RunStore(folder).finished()) == n_runs

    return _time({"read": find_all})


def conclude(folder: Path, n_runs: int) -> dict[str, float]:
    """Plan, fit and show as `lora-jax scaling` does when all runs are there; return the seconds."""
    from lora_jax.report.sweep.page import write_report
    from lora_jax.runs.execute import form_groups
    from lora_jax.runs.plan import plan_runs
    from lora_jax.runs.plan_table import format_plan
    from lora_jax.runs.store import RunStore
    from lora_jax.scaling.documents import write_fits
    from lora_jax.scaling.sweep import fit_sweep
    from lora_jax.scaling.tables.table import read_table
    from lora_jax.target import find_device

    runs, store = list_runs(n_runs), RunStore(folder)

    def plan() -> None:
        assert len(store.settled(False)) == n_runs
        planned = plan_runs(runs, set(), find_device(DEVICE))  # as if none were: what is done has no price
        form_groups(planned, 1, False, float("inf"))
        format_plan(planned, DEVICE)

    def fit() -> None:
        store.write_table()
        write_fits(folder / "fits.json", fit_sweep(read_table(folder)))

    return _time({"plan": plan, "fit": fit, "page": lambda: write_report(folder)})


def _time(actions: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Do each in turn; return the seconds of all, wall and CPU, and of each where there are several."""
    parts, cpu = {}, time.process_time()
    for name, action in actions.items():
        started = time.perf_counter()
        action()
        parts[name] = time.perf_counter() - started
    whole = {WALL: sum(parts.values()), "CPU time": time.process_time() - cpu}
    return whole | parts if len(parts) > 1 else whole


def _run(stage: str, folder: Path, n_runs: int) -> Mapping[str, float]:
    command = [sys.executable, "-m", "benchmarks.store", stage, str(folder), str(n_runs)]
    checkout = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, cwd=checkout)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    stages = {"read": read, "conclude": conclude}
    print(json.dumps(stages[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))))
