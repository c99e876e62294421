"""Time one forward pass of a base, merged LoRA, adapters and LoRA beside its base, and write the report."""

if __name__ == "__main__":
    from lora_jax.runs.signals import end_at_once

    end_at_once()  # before the other imports, in which a signal would be a stack trace

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lora_jax.bench.medians import FEWEST
from lora_jax.bench.quiet import QUIET as OTHERS_AT_MOST
from lora_jax.bench.quiet import Watch
from lora_jax.cli import guard
from lora_jax.errors import LoraJaxError

ROOT = Path(__file__).resolve().parent.parent
N_TRIALS = 100  # the paper's
QUIET = 0.3  # load average of the last minute up to which a machine passes for quiet


def main(argv: Sequence[str] | None = None) -> int:
    """Time, print the table, write the folder; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="The form of Table 1 of the LoRA paper (arXiv 2106.09685). Let nothing else run beside it."
        " docs/latency.md says how to read it.",
    )
    parser.add_argument(
        "--trials", type=int, default=N_TRIALS, metavar="N",
        help=f"each runs every variant once (default: {N_TRIALS}, at least {FEWEST})",
    )  # fmt: skip
    parser.add_argument(
        "--divide", type=int, metavar="N",
        help="divide GPT-2 medium's width, depth and heads and the paper's sequences by N: 1, 2, 4 or 8"
        " (default: 8 on a CPU, else 1)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of weights, tokens and the order of a trial")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "results" / "latency",
        help="the results folder (default: results/latency of this checkout)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print latency.json in place of the table")
    arguments = parser.parse_args(argv)
    return guard(lambda: run(arguments))


def run(arguments: argparse.Namespace) -> int:
    check(arguments)
    import jax

    from lora_jax.bench.figures import Provenance
    from lora_jax.bench.latency import measure_latency
    from lora_jax.bench.latency_findings import make_document
    from lora_jax.bench.latency_shapes import ON_CPU, shape_model, shape_sizes
    from lora_jax.report.latency_page import write_latency
    from lora_jax.runs.execute import use_compilation_cache
    from lora_jax.runs.provenance import describe_commit, describe_device, describe_versions

    use_compilation_cache()
    divisor = arguments.divide
    if divisor is None:
        divisor = ON_CPU if jax.default_backend() == "cpu" else 1
    model, sizes = shape_model(divisor), shape_sizes(divisor)
    load, watch = os.getloadavg()[0], Watch()
    timed = measure_latency(model, sizes, arguments.trials, arguments.seed, say)
    provenance = Provenance(
        " ".join(["./launch.sh latency", *sys.argv[1:]]), describe_device(), describe_versions(),
        describe_commit(), load, watch.others(),
    )  # fmt: skip
    document = make_document(provenance, model, divisor, arguments.seed, timed)
    warnings = warn(load, provenance.others)
    page = write_latency(document, warnings, arguments.out)
    if arguments.json:
        print(json.dumps(document, indent=1, allow_nan=False))
    else:
        from lora_jax.report.latency_rows import latency_rows
        from lora_jax.report.tables import make_console, print_table

        print_table(latency_rows(document), make_console())
        for statement in document["statements"]:
            print(statement["words"])
    for line in warnings:
        say(f"warning: {line}")
    say(f"Every trial, the figures and the page: {page}")
    return 0


def check(arguments: argparse.Namespace) -> None:
    """Refuse what would be found out after minutes of timing."""
    if arguments.trials < FEWEST:
        raise LoraJaxError(
            f"--trials is {arguments.trials}, it must be at least {FEWEST}, which the 95 % interval of a"
            " median needs: raise it."
        )
    if arguments.seed < 0:
        raise LoraJaxError(f"--seed is {arguments.seed}, it must be at least 0: raise it.")
    if arguments.divide is not None:
        from lora_jax.bench.latency_shapes import check_divisor

        check_divisor(arguments.divide)
    check_folder(arguments.out)


def check_folder(folder: Path) -> None:
    """Make the results folder; refuse one that is another kind of result's, or cannot be written."""
    if (folder / "sweep.json").exists():
        raise LoraJaxError(
            f"--out is {folder}, a results folder whose report.html shows a sweep: name another folder."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise LoraJaxError(f"--out is {folder}, a file, it must be a folder: name another one.") from error
    except OSError as error:
        raise LoraJaxError(
            f"--out is {folder}, which cannot be made ({error.strerror}): name a folder that can."
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise LoraJaxError(f"--out is {folder}, which you may not write: name another folder.")


def warn(load: float, others: float | None) -> list[str]:
    """Return what speaks against the figures."""
    warnings = []
    if load > QUIET:
        warnings.append(f"the load of this machine was {load:.1f} when it began, not 0.")
    if others is not None and others > OTHERS_AT_MOST:
        warnings.append(
            f"other processes kept {others:.2f} cores busy on average: run it again on a quiet machine."
        )
    return warnings


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
