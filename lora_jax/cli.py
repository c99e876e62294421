"""The `lora-jax` command: fit and report results folders or any table of runs; plan a config."""

import argparse
import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from lora_jax import __version__
from lora_jax.errors import LoraJaxError, nearest

# What a person can mend about a disk: space, permission, or the path that was given.
_DISK = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR,
    errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG,
}  # fmt: skip


class Terminated(BaseException):
    """SIGTERM outside training, where no state is to be saved; no handler of errors may swallow it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return guard(lambda: _dispatch(arguments))


def guard(action: Callable[[], int]) -> int:
    """Run `action`; a mistake of the user or the disk becomes one line on standard error, not a stack trace.

    Returns 2 for a mistake, and 128 + the number of the signal that ended it, as a shell does.
    """
    try:
        with _terminable():
            return action()
    except LoraJaxError as error:
        print("lora-jax:", " ".join(str(error).splitlines()), file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, such as `head`, has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the flush at exit would fail once more
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno not in _DISK:
            raise
        where = f" at {error.filename}" if error.filename else ""
        print(
            f"lora-jax: {os.strerror(error.errno)}{where}: every finished run is kept; make room or choose"
            " another folder with --out, then run the same command again.",
            file=sys.stderr,
        )
        sys.stderr.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # or orbax's threads would bury the line at exit
        return 2
    except (KeyboardInterrupt, Terminated) as error:
        signum = signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT
        print(
            f"lora-jax: stopped by {signum.name}; every finished run is kept,"
            " the same command goes on from here.",
            file=sys.stderr,
        )
        return 128 + signum


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM raise Terminated for the duration of the block, as Ctrl-C raises KeyboardInterrupt."""

    def receive(signum: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, receive)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _dispatch(argv: list[str]) -> int:
    parser, commands = _build_parser()
    if argv and not argv[0].startswith("-") and argv[0] not in commands:
        experiments = [path.stem for path in Path(__file__).parents[1].glob("experiments/*.py")]
        if argv[0] in experiments:
            raise LoraJaxError(f"{argv[0]!r} is an experiment, not a command: run ./launch.sh {argv[0]}.")
        raise LoraJaxError(
            f"unknown command {argv[0]!r}{nearest(argv[0], commands + experiments)}; see --help."
        )
    arguments, rest = parser.parse_known_args(argv)
    # argparse takes overrides only where they follow the config at once, not after an option.
    if rest and not ("overrides" in arguments and all("=" in text and text[0] != "-" for text in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        arguments.overrides += rest
    return arguments.run(arguments)


def _build_parser() -> tuple[argparse.ArgumentParser, list[str]]:
    parser = argparse.ArgumentParser(
        prog="lora-jax",
        description="Scaling laws from tables of runs, with intervals and reasons to believe.",
    )
    parser.add_argument("--version", action="version", version=f"lora-jax {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    fit = commands.add_parser(
        "fit", help="fit L(N), L(D), L(C) and L(N,D) to a results folder or a CSV of runs"
    )
    fit.add_argument("table", type=Path, help="a results folder, or a CSV with one row a run")
    fit.add_argument("--map", nargs="+", default=[], metavar="COLUMN=NAME", help="e.g. n_params='Model Size'")
    fit.add_argument("--out", type=Path, help="where fits.json goes (default: the results folder, if one)")
    fit.add_argument("--json", action="store_true", help="print the fits as JSON instead of tables")
    fit.add_argument("--bootstrap", type=int, default=400, metavar="N", help="resamples (default: 400)")
    fit.set_defaults(run=_fit)

    report = commands.add_parser("report", help="write figures/ and report.html of a results folder")
    report.add_argument("folder", type=Path, help="a results folder with runs.csv and fits.json")
    report.set_defaults(run=_report)

    plan = commands.add_parser("plan", help="print what every run of a config costs, before anything trains")
    plan.add_argument("config", type=Path, help="a config file")
    plan.add_argument("overrides", nargs="*", metavar="field=value", help="laid over every run")
    plan.add_argument("--device", help="price for this accelerator instead of the present machine")
    plan.set_defaults(run=_plan)
    return parser, list(commands.choices)


def _fit(arguments: argparse.Namespace) -> int:
    _renew_table(arguments.table)
    fits = fit_table(arguments.table, _parse_map(arguments.map), arguments.bootstrap)
    from lora_jax.scaling.analysis import write_fits

    folder = arguments.out or (arguments.table if arguments.table.is_dir() else None)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        write_fits(folder / "fits.json", fits)
    if arguments.json:
        import json

        print(json.dumps(fits, indent=1))
    else:
        from lora_jax.report.tables import print_fits

        print_fits(fits)
    return 0


def _renew_table(folder: Path) -> None:
    """Write runs.csv anew where it is older than a record: the records are the source of truth."""
    times = [path.stat().st_mtime for path in folder.glob("runs/*.json")]
    table = folder / "runs.csv"
    if times and not (table.exists() and max(times) < table.stat().st_mtime):
        from lora_jax.runs.store import RunStore

        RunStore(folder).write_table()


def fit_table(path: Path, columns: dict[str, str] | None = None, n_bootstrap: int = 400) -> dict[str, Any]:
    """Fit every law that the table at `path` (a results folder or a CSV) can carry."""
    from lora_jax.scaling.analysis import analyse
    from lora_jax.scaling.table import read_table

    return analyse(read_table(path, columns), n_bootstrap=n_bootstrap)


def _parse_map(texts: Sequence[str]) -> dict[str, str]:
    wrong = [text for text in texts if "=" not in text]
    if wrong:
        raise LoraJaxError(f"--map got {wrong[0]!r}, it wants COLUMN=NAME, such as loss='final_loss'.")
    return dict(text.split("=", 1) for text in texts)


def _report(arguments: argparse.Namespace) -> int:
    from lora_jax.report.page import write_report

    print(write_report(arguments.folder))
    return 0


def _plan(arguments: argparse.Namespace) -> int:
    from lora_jax.runs.experiment import load_experiment
    from lora_jax.runs.plan_table import print_plan

    print_plan(load_experiment(arguments.config, arguments.overrides), finished=(), device=arguments.device)
    return 0


if __name__ == "__main__":
    sys.exit(main())
