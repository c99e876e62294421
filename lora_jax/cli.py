"""The `lora-jax` command: one line for every mistake, and the commands of lora_jax/commands/."""

if __name__ == "__main__":
    from lora_jax.runs.signals import end_at_once

    end_at_once()  # before the other imports, in which a signal would be a stack trace

import argparse
import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lora_jax import __version__
from lora_jax.commands import (
    compare,
    count,
    design,
    evaluate,
    export,
    fetch,
    fit,
    generate,
    laws,
    merge,
    plan,
    report,
    sizes,
)
from lora_jax.errors import LoraJaxError, nearest
from lora_jax.runs.signals import Terminated, end_at_once, end_requests, say_stopped

# What a person can mend about a disk: space, permission, or the path that was given.
_DISK = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR,
    errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG,
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit status. argv: None where this is the whole program."""
    if argv is None:
        end_at_once()
    arguments = list(sys.argv[1:] if argv is None else argv)
    return guard(lambda: _dispatch(arguments))


def guard(action: Callable[[], int]) -> int:
    """Run `action`; a mistake of the user or the disk becomes one line on standard error, not a stack trace.

    Returns 2 for a mistake, and 128 + the number of the signal that ended it, as a shell does: once a signal
    has come, whatever `action` then returns or raises is its end.
    """
    with end_requests() as request:
        try:
            status = request.run(action)
        except BaseException as error:  # a signal may have become any other on its way
            status = 0 if request.signum else _explain(error)
            if status is None:
                raise
    if request.signum and status != 128 + request.signum:  # else training has said it
        print(say_stopped(request.signum), file=sys.stderr)
        return 128 + request.signum
    return status


def _explain(error: BaseException) -> int | None:
    """Print a line about a mistake and return the exit status; None for what is none, such as a bug."""
    if isinstance(error, LoraJaxError):
        print("lora-jax:", " ".join(str(error).splitlines()), file=sys.stderr)
        return 2
    if isinstance(error, BrokenPipeError):  # the reader, such as `head`, has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the flush at exit would fail once more
        return 128 + signal.SIGPIPE
    if isinstance(error, OSError) and error.errno in _DISK:
        where = f" at {error.filename}" if error.filename else ""
        print(
            f"lora-jax: {os.strerror(error.errno)}{where}: every finished run is kept; make room or choose"
            " another folder with --out, then run the same command again.",
            file=sys.stderr,
        )
        sys.stderr.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # or orbax's threads would bury the line at exit
        return 2
    if isinstance(error, KeyboardInterrupt | Terminated):
        signum = signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT
        print(say_stopped(signum), file=sys.stderr)
        return 128 + signum
    return None


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
        description="Scaling laws from tables of runs, and adapters: with intervals and reasons to believe.",
    )
    parser.add_argument("--version", action="version", version=f"lora-jax {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (
        fit,
        compare,
        design,
        laws,
        count,
        sizes,
        report,
        plan,
        fetch,
        merge,
        export,
        generate,
        evaluate,
    ):
        command.add(commands)
    return parser, list(commands.choices)


if __name__ == "__main__":
    sys.exit(main())
