"""Time a forward pass of the base, merged LoRA, unmerged LoRA and adapters, and write the report."""

if __name__ == "__main__":
    from lora_jax.runs.signals import end_at_once

    end_at_once()  # before the other imports, in which a signal would be a stack trace

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.medians import FEWEST
from benchmarks.quiet import Watch
from lora_jax.cli import guard
from lora_jax.commands.number_options import add_number
from lora_jax.errors import LoraJaxError
from lora_jax.files import try_folder
from lora_jax.ranges import SEED, whole

if TYPE_CHECKING:
    from benchmarks.latency_shapes import Size
    from lora_jax.config import ModelConfig

ROOT = Path(__file__).resolve().parent.parent
N_TRIALS = 100  # the paper's
TRIALS = whole(FEWEST, 1_000_000)  # the 95 % interval of a median needs the fewest


def main(argv: Sequence[str] | None = None) -> int:
    """Time, print the table, write the folder; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="./launch.sh latency",
        description=__doc__,
        epilog="This repeats Table 1 of the LoRA paper (arXiv 2106.09685). Let nothing else run on the"
        " machine. docs/latency.md explains the report.",
    )
    add_number(
        parser,
        "--trials",
        TRIALS,
        default=N_TRIALS,
        metavar="N",
        help=f"number of trials; each runs every variant once (default: {N_TRIALS}; at least {FEWEST})",
    )
    add_number(
        parser,
        "--divide",
        whole(1, 8),
        metavar="N",
        help="divide the width, depth and heads of GPT-2 medium and the paper's sequence lengths by N:"
        " 1, 2, 4 or 8 (default: 8 on a CPU, otherwise 1)",
    )
    add_number(
        parser,
        "--seed",
        SEED,
        default=0,
        help="random seed of the weights, the tokens and the order within a trial (default: 0)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "results" / "latency",
        help="results folder (default: results/latency in this checkout)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="check everything and print what would be timed; time nothing"
    )
    parser.add_argument("--json", action="store_true", help="print latency.json instead of the table")
    return guard(lambda: run(parser.parse_args(argv)))


def run(arguments: argparse.Namespace) -> int:
    check(arguments)
    import jax

    from benchmarks.figures import Provenance
    from benchmarks.latency import measure_latency
    from benchmarks.latency_findings import make_table
    from benchmarks.latency_shapes import ON_CPU, shape_model, shape_sizes
    from lora_jax.report.latency.doubts import doubts_of
    from lora_jax.report.latency.page import write_latency
    from lora_jax.runs.execute import use_compilation_cache
    from lora_jax.runs.provenance import describe_commit, describe_device, describe_versions

    use_compilation_cache()
    divisor = arguments.divide
    if divisor is None:
        divisor = ON_CPU if jax.default_backend() == "cpu" else 1
    model, sizes = shape_model(divisor), shape_sizes(divisor)
    if arguments.dry_run:
        print(describe(model, sizes, arguments.trials))
        return 0
    load, watch = os.getloadavg()[0], Watch()
    timed = measure_latency(model, sizes, arguments.trials, arguments.seed, say)
    provenance = Provenance(
        " ".join(["./launch.sh latency", *sys.argv[1:]]),
        describe_device(),
        describe_versions(),
        describe_commit(),
        load,
        watch.others(),
    )
    table = make_table(provenance, model, divisor, arguments.seed, timed)
    page = write_latency(table, arguments.out)
    if arguments.json:
        from lora_jax.report.latency.documents import latency_to_json

        print(latency_to_json(table))
    else:
        from lora_jax.report.kit.tables import make_console, print_table
        from lora_jax.report.latency.rows import latency_rows

        print_table(latency_rows(table), make_console())
        for statement in table.statements:
            print(statement.words)
    for line in doubts_of(table):
        say(f"warning: {line}")
    say(f"Every trial, the figures and the page: {page}")
    return 0


def describe(model: "ModelConfig", sizes: "Sequence[Size]", n_trials: int) -> str:
    """Return what would be timed, in a sentence."""
    from benchmarks.latency import VARIANTS
    from lora_jax.model.declare import count_parameters

    return (
        f"{n_trials} trials of {', '.join(VARIANTS)}: {count_parameters(model).total:,} parameters"
        f" at {', '.join(size.label for size in sizes)} (sequences x tokens)"
    )


def check(arguments: argparse.Namespace) -> None:
    """Refuse what would be found out after minutes of timing."""
    if arguments.divide is not None:
        from benchmarks.latency_shapes import check_divisor

        check_divisor(arguments.divide)
    check_folder(arguments.out, make=not arguments.dry_run)


def check_folder(folder: Path, make: bool) -> None:
    """Refuse a folder that is another kind of result's, or cannot be written. make: leave it behind."""
    if (folder / "sweep.json").exists():
        raise LoraJaxError(
            f"--out is {folder}, a results folder whose report.html shows a sweep: name another folder."
        )
    try:
        try_folder(folder)
        if make:
            folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise LoraJaxError(
            f"--out is {folder}, a file, but it must be a folder: name another one."
        ) from error
    except OSError as error:
        raise LoraJaxError(
            f"--out is {folder}, which cannot be made or written ({error.strerror}): name a folder that can."
        ) from error


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
