"""Time the training step, compilation, the start, the fits and the quickstart on this machine."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lora_jax.bench.figures import Provenance, Section, to_json
from lora_jax.bench.timing import Say
from lora_jax.cli import guard
from lora_jax.errors import LoraJaxError

QUICKSTART = Path(__file__).resolve().parent / "quickstart.py"
SLOW = "quickstart"  # minutes, so only when asked for
STDOUT = "-"
QUIET = 0.3  # load average of the last minute up to which a machine passes for quiet


def main(argv: Sequence[str] | None = None) -> int:
    """Run the chosen sections, print their tables, write the JSON; return the exit status."""
    arguments = parse(argv)
    return guard(lambda: run(arguments))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Every figure is the median of repetitions taken in turns, with its quartiles. A goal that is"
        " not kept is marked in the table; the exit status stays 0. Let nothing else run beside it."
        " docs/speed.md has results.",
    )
    parser.add_argument("--only", nargs="+", choices=tuple(SECTIONS), help="these sections alone")
    parser.add_argument(
        "--quickstart",
        action="store_true",
        help="the whole quickstart, too: some minutes, from an empty cache",
    )
    parser.add_argument(
        "--repeats", type=int, metavar="N",
        help=f"repetitions (default: {', '.join(f'{n} of {name}' for name, (n, _) in SECTIONS.items())})",
    )  # fmt: skip
    parser.add_argument(
        "--json", metavar="PATH", help="write every repetition to this file; - prints it, and no tables"
    )
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> int:
    if arguments.repeats is not None and arguments.repeats < 1:
        raise LoraJaxError(f"--repeats is {arguments.repeats}, it must be at least 1: raise it.")
    if arguments.json and Path(arguments.json).is_dir():
        raise LoraJaxError(
            f"--json is {arguments.json}, a folder, it must be a file or -: name a file in it."
        )
    names = [name for name in SECTIONS if is_chosen(name, arguments)]
    load = os.getloadavg()[0]
    if load > QUIET:
        say(f"The load of this machine is {load:.1f}, not 0: what else runs will show in the figures.")
    sections = [SECTIONS[name][1](arguments.repeats or SECTIONS[name][0], say) for name in names]
    provenance = describe(load)
    text = json.dumps(to_json(provenance, sections), indent=1) + "\n"
    if arguments.json == STDOUT:
        print(text, end="")
        return 0
    show(provenance, sections)
    if arguments.json:
        from lora_jax.runs.store import write_atomically

        write_atomically(Path(arguments.json), text)
        say(f"Every repetition: {arguments.json}")
    return 0


def is_chosen(name: str, arguments: argparse.Namespace) -> bool:
    if name == SLOW and arguments.quickstart:
        return True
    return name in arguments.only if arguments.only else name != SLOW


def describe(load: float) -> Provenance:
    from lora_jax.runs.provenance import describe_commit, describe_device, describe_versions

    words = " ".join(["./launch.sh bench", *sys.argv[1:]])
    return Provenance(words, describe_device(), describe_versions(), describe_commit(), load)


def show(provenance: Provenance, sections: Sequence[Section]) -> None:
    """Print the tables, and under them where they come from."""
    from rich.console import Console

    from lora_jax.bench.table import make_table
    from lora_jax.report.tables import PLAIN_WIDTH, print_table

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PLAIN_WIDTH)
    for section in sections:
        print_table(make_table(section), console)
    versions = ", ".join(f"{name} {provenance.versions[name]}" for name in ("lora-jax", "jax", "python"))
    print(f"{provenance.device}; {versions}; commit {provenance.git_commit}")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# What is imported in them takes seconds, which --help and the other sections need not wait for.


def run_steps(repeats: int, say: Say) -> Section:
    disable_compilation_cache()
    from lora_jax.bench.steps import measure_steps

    return measure_steps(repeats, say)


def run_compilation(repeats: int, say: Say) -> Section:
    disable_compilation_cache()
    from lora_jax.bench.compilation import measure_compilation

    return measure_compilation(repeats, say)


def run_choices(repeats: int, say: Say) -> Section:
    disable_compilation_cache()
    from lora_jax.bench.choices import measure_choices

    return measure_choices(repeats, say)


def run_startup(repeats: int, say: Say) -> Section:
    from lora_jax.bench.startup import measure_startup

    return measure_startup(repeats, say)


def run_fits(repeats: int, say: Say) -> Section:
    from lora_jax.bench.fits import measure_fits

    return measure_fits(repeats, say)


def run_quickstart(repeats: int, say: Say) -> Section:
    from lora_jax.bench.quickstart import measure_quickstart

    return measure_quickstart(repeats, say, [sys.executable, str(QUICKSTART)])


def disable_compilation_cache() -> None:
    """Whatever the environment says: JAX asks once in a process whether to use it."""
    import jax

    jax.config.update("jax_enable_compilation_cache", False)


# Name: how often, what. The start goes first, before this process takes up memory.
SECTIONS: dict[str, tuple[int, Callable[[int, Say], Section]]] = {
    "startup": (10, run_startup),
    "step": (20, run_steps),
    "compile": (5, run_compilation),
    "choices": (20, run_choices),
    "fits": (5, run_fits),
    "quickstart": (1, run_quickstart),
}

if __name__ == "__main__":
    sys.exit(main())
