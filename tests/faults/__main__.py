"""Attack the programs for some minutes: ./launch.sh faults --minutes 60. See docs/reliability.md."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.faults.attempts import Tally

ROOT = Path(__file__).parents[2]
INPUTS = "inputs"  # the part that asks generated inputs, in a process of its own: it starts threads
INPUTS_A_MINUTE = 40  # an hour asks 2,400


def main() -> int:
    parser = argparse.ArgumentParser(prog="./launch.sh faults", description=__doc__)
    parser.add_argument(
        "--minutes", type=float, default=5.0, help="how long to attack, in minutes (default: 5)"
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed of the attacks (default: 0)")
    parser.add_argument(
        "--only",
        nargs="*",
        default=[],
        metavar="NAME",
        help="subjects, attacks or inputs to use (default: all)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        help="number of processes (default: one for each core)",
    )
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return work(arguments)
    print(f"seed {arguments.seed}, {arguments.minutes:g} minutes, {arguments.workers} workers", flush=True)
    command = [sys.executable, "-m", "tests.faults", "--worker", "--minutes", str(arguments.minutes)]
    attacks = [name for name in arguments.only if name != INPUTS]
    parts = []
    if attacks or not arguments.only:
        seeds = [1000 * arguments.seed + k for k in range(arguments.workers)]
        parts += [["--seed", str(seed), "--only", *attacks] for seed in seeds]
    if INPUTS in arguments.only or not arguments.only:
        parts.append(["--seed", str(arguments.seed), "--only", INPUTS])
    children = [
        subprocess.Popen([*command, *part], cwd=ROOT, stdout=subprocess.PIPE, text=True) for part in parts
    ]
    counts: Counter[str] = Counter()
    findings, failed = [], 0
    for child in children:
        out, _ = child.communicate()
        if child.returncode:
            failed += 1
            continue
        found = json.loads(out.splitlines()[-1])
        counts.update(found["counts"])
        findings += found["findings"]
    for name, count in sorted(counts.items()):
        print(f"{count:7,}  {name}")
    for line in findings:
        print(f"FOUND  {line}")
    print(f"{len(findings)} findings" + f", and {failed} workers failed" * bool(failed))
    return 1 if findings or failed else 0


def ask(folder: Path, seed: int, minutes: float) -> "Tally":
    """Ask as many generated inputs as belong to so many minutes."""
    from tests.faults.good_folders import make_places
    from tests.faults.inputs import ask_inputs

    examples = max(1, round(INPUTS_A_MINUTE * minutes))
    return ask_inputs(seed, examples, folder / "now", make_places(folder), most_seconds=60 * minutes)


def work(arguments: argparse.Namespace) -> int:
    """Attack in one process, and print the tally as one line of JSON."""
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    os.environ |= {
        "JAX_PLATFORMS": "cpu",
        "MPLBACKEND": "Agg",
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "HF_HUB_OFFLINE": "1",
        "WANDB_MODE": "offline",
        "LORA_JAX_CACHE": str(folder / "cache"),
    }
    if INPUTS in arguments.only:
        tally = ask(folder, arguments.seed, arguments.minutes)
    else:
        from tests.faults.campaign import campaign

        tally = campaign(folder / "work", arguments.seed, arguments.minutes, arguments.only)
    if not tally.findings:  # else their folders are looked at
        shutil.rmtree(folder)
    print(json.dumps({"counts": tally.counts, "findings": tally.findings}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
