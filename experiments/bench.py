"""Time training steps, LoRA, lanes, compilation, start-up, generation and fits on this machine."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.figures import Figure, Provenance, Section, to_json
from benchmarks.quiet import Watch
from benchmarks.sections import SECTIONS as SHORT
from benchmarks.sections import run_tokenising
from lora_jax.cli import guard
from lora_jax.commands.number_options import add_number
from lora_jax.errors import LoraJaxError
from lora_jax.ranges import Range, whole
from lora_jax.report.latency.doubts import QUIET_CORES, QUIET_LOAD
from lora_jax.timing import Say

if TYPE_CHECKING:
    from benchmarks.compare import Key

QUICKSTART = Path(__file__).resolve().parent / "quickstart.py"
SLOW, CORPUS = "quickstart", "tokenising"  # minutes each, so only when asked for
STDOUT = "-"
REPEATS = whole(1, 10_000)
MEGABYTES = Range(1, 1_000_000)
WORSE = 1  # exit status of --against where a figure is worse


def main(argv: Sequence[str] | None = None) -> int:
    """Run the chosen sections, print their tables, write the JSON; return the exit status."""
    return guard(lambda: run(parse(argv)))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./launch.sh bench",
        description=__doc__,
        epilog="Every figure is a median with its quartiles. The things that are compared take turns. Let"
        " nothing else run on the machine. The table marks each goal that is missed, and the exit status"
        " is 0 all the same. With --against it is 1 if a ratio is worse than before. docs/performance.md has"
        " our results.",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=tuple(SECTIONS),
        metavar="SECTION",
        help=f"measure only these sections, of {', '.join(SECTIONS)}",
    )
    parser.add_argument(
        "--torch",
        action="store_true",
        help="compare with PyTorch and peft; launch.sh installs them (default: on if they are installed)",
    )
    parser.add_argument(
        "--quickstart",
        action="store_true",
        help="also time the whole quickstart from an empty cache; this takes minutes",
    )
    add_number(
        parser,
        "--repeats",
        REPEATS,
        metavar="N",
        help="number of repetitions (default:"
        f" {', '.join(f'{n} for {name}' for name, (n, _) in SECTIONS.items())})",
    )
    add_number(
        parser,
        "--corpus-mb",
        MEGABYTES,
        metavar="MB",
        help="size of the corpus of the section tokenising (default: 300); it needs twice as much disk",
    )
    parser.add_argument(
        "--json",
        metavar="PATH",
        help="write every repetition to this file; - prints the JSON instead of the tables",
    )
    parser.add_argument(
        "--against", metavar="PATH", help="compare the ratios with those in this file, which --json wrote"
    )
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> int:
    check(arguments)
    names = [name for name in SECTIONS if is_chosen(name, arguments)]
    before = read_before(arguments.against)
    load, watch = os.getloadavg()[0], Watch()
    if load > QUIET_LOAD:
        say(f"The load of this machine is {load:.1f}, not 0: what else runs will show in the figures.")
    # A process beside this one, and PyTorch's, want some of an accelerator's memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    sections: list[Section] = []
    for name in names:
        repeats, measure = SECTIONS[name]
        if name == CORPUS:
            measure = partial(run_tokenising, megabytes=arguments.corpus_mb)
        sections += measure(arguments.repeats or repeats, say)
    provenance = describe(load, watch.others())
    text = json.dumps(to_json(provenance, sections), indent=1) + "\n"
    if arguments.json == STDOUT:
        print(text, end="")
    else:
        show(provenance, sections)
    if arguments.json not in (None, STDOUT):
        from lora_jax.files import write_atomically

        write_atomically(Path(arguments.json), text)
        say(f"Every repetition: {arguments.json}")
    return 0 if before is None else tell_changes(before, sections, arguments.json == STDOUT)


def is_chosen(name: str, arguments: argparse.Namespace) -> bool:
    if name == SLOW and arguments.quickstart:
        return True
    return name in arguments.only if arguments.only else name not in (SLOW, CORPUS)


def check(arguments: argparse.Namespace) -> None:
    """Refuse what would be found out after minutes of timing."""
    if arguments.json and Path(arguments.json).is_dir():
        raise LoraJaxError(
            f"--json is {arguments.json}, a folder, but it must be a file or -: name a file in it."
        )
    if arguments.corpus_mb is not None and not is_chosen(CORPUS, arguments):
        raise LoraJaxError(f"--corpus-mb is of the section {CORPUS}: add --only {CORPUS}, or leave it out.")
    if arguments.torch:
        from benchmarks.rivals import require_torch

        require_torch()
    if "gpu" in (arguments.only or ()):
        from benchmarks.gpu import find_accelerator

        find_accelerator()


def read_before(path: str | None) -> "dict[Key, Figure] | None":
    """Return the figures to compare with, None without --against."""
    if path is None:
        return None
    from benchmarks.compare import read_baseline
    from lora_jax.runs.provenance import describe_device

    return read_baseline(Path(path), describe_device())


def tell_changes(before: "dict[Key, Figure]", sections: Sequence[Section], to_stderr: bool) -> int:
    """Print then and now; return the exit status."""
    from benchmarks.compare import compare, find_missing, make_change_table
    from lora_jax.report.kit.tables import make_console, print_table

    changes = compare(before, sections)
    print_table(make_change_table(changes, find_missing(before, sections)), make_console(to_stderr))
    worse = [change for change in changes if change.verdict == "worse"]
    if worse:
        say(f"{len(worse)} of {len(changes)} ratios are worse than they were.")
    return WORSE if worse else 0


def describe(load: float, others: float | None) -> Provenance:
    from lora_jax.runs.provenance import describe_commit, describe_device, describe_versions

    words = " ".join(["./launch.sh bench", *sys.argv[1:]])
    return Provenance(words, describe_device(), describe_versions(), describe_commit(), load, others)


def show(provenance: Provenance, sections: Sequence[Section]) -> None:
    """Print the tables, and under them where they come from."""
    from benchmarks.table import make_table
    from lora_jax.report.kit.tables import make_console, print_table

    console = make_console()
    for section in sections:
        print_table(make_table(section), console)
    versions = ", ".join(f"{name} {provenance.versions[name]}" for name in ("lora-jax", "jax", "python"))
    print(f"{provenance.device}; {versions}; commit {provenance.git_commit}")
    if provenance.others is not None:
        warning = ": too much, run it again on a quiet machine" if provenance.others > QUIET_CORES else ""
        print(f"Other processes kept {provenance.others:.2f} cores busy on average{warning}.")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run_quickstart(repeats: int, say: Say) -> tuple[Section, ...]:
    from benchmarks.quickstart import measure_quickstart

    return (measure_quickstart(repeats, say, [sys.executable, str(QUICKSTART)]),)


SECTIONS = {**SHORT, CORPUS: (1, run_tokenising), SLOW: (1, run_quickstart)}


if __name__ == "__main__":
    sys.exit(main())
