"""The `lora-jax` command. Every mistake becomes one line. lora_jax/commands/ has the commands."""

if __name__ == "__main__":
    from lora_jax.runs.signals import end_at_once

    end_at_once()  # before the other imports, during which a signal would give a stack trace

import argparse
import codecs
import contextlib
import errno
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lora_jax import __version__
from lora_jax.commands import (
    ablation,
    compare,
    compile,
    coordinates,
    count,
    dashboard,
    design,
    evaluate,
    export,
    fetch,
    finetune,
    finetune_laws,
    fit,
    generate,
    incontext,
    laws,
    merge,
    plan,
    report,
    scaling,
    sizes,
    speedup,
    surface,
    transfer,
    watch,
    work,
)
from lora_jax.commands.comma_lists import refuse_spaces
from lora_jax.errors import LoraJaxError, ProcessLost, closest, nearest
from lora_jax.extras import explain_missing
from lora_jax.runs.signals import Terminated, end_at_once, end_requests, say_stopped

# Errors of a disk that a person can mend: space, permission, or the path.
_DISK = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ELOOP,
    errno.EBUSY,
    errno.EXDEV,  # a folder that is a mount point, which a rename cannot replace
}
_GONE = {errno.ENOENT, errno.ESTALE}  # a file that existed when this began
_PLAIN = {0x2013: "-", 0x2212: "-", 0xD7: "x", 0x2026: "...", 0xB1: "+-", 0x2265: ">=", 0x2264: "<="}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit status.

    Args:
        argv: The arguments. None takes those of the process, if this is the whole program.
    """
    if argv is None:
        end_at_once()
    arguments = list(sys.argv[1:] if argv is None else argv)
    return guard(lambda: _dispatch(arguments))


def guard(action: Callable[[], int]) -> int:
    """Run `action`. A mistake of the user or the disk becomes one line on standard error, not a stack trace.

    Returns:
        The status of `action`, 2 for a mistake, or 128 + the number of a signal, as a shell does. Once a
        signal has come, its number decides, whatever `action` returns or raises.
    """
    _print_anything()
    with end_requests() as request:
        try:
            status = request.run(lambda: _print_all(action))
        except BaseException as error:  # a signal may have turned into any exception on its way
            status = 0 if request.signum else _explain(error)
            if status is None:
                raise
    if request.signum and status != 128 + request.signum:  # otherwise training has said it
        print(say_stopped(request.signum), file=sys.stderr)
        return 128 + request.signum
    return status


def _print_all(action: Callable[[], int]) -> int:
    """Run `action` and write all that it printed. At exit an error of writing could no longer be reported."""
    status = action()
    sys.stdout.flush()
    return status


def _print_anything() -> None:
    """Print every text, whatever the terminal's encoding. ASCII gets a similar character or its number."""
    codecs.register_error("plain", _spell)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors != "plain":
            stream.reconfigure(errors="plain")


def _spell(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_PLAIN)
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end


def _explain(error: BaseException) -> int | None:
    """Print a line about a mistake and return the exit status.

    None if it is no mistake but, for example, a bug.
    """
    if isinstance(error, LoraJaxError):
        print("lora-jax:", " ".join(str(error).splitlines()), file=sys.stderr)
        return 2
    if isinstance(error, ProcessLost):
        print("lora-jax:", error, file=sys.stderr)
        return ProcessLost.status
    missing = explain_missing(error)
    if missing is not None:
        print("lora-jax:", missing, file=sys.stderr)
        return 2
    if isinstance(error, BrokenPipeError):  # the reader, such as `head`, has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # otherwise the flush at exit would fail once more
        return 128 + signal.SIGPIPE
    if isinstance(error, OSError) and error.errno in _DISK:
        where = f" at {error.filename}" if error.filename else ""
        print(
            f"lora-jax: {os.strerror(error.errno)}{where}: every finished run is kept; make room or choose"
            " another folder with --out, then run the same command again.",
            file=sys.stderr,
        )
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        # otherwise the flush at exit would fail once more, and orbax's threads would bury the line
        for number in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
        return 2
    if isinstance(error, OSError) and error.errno in _GONE:
        print(
            f"lora-jax: {error.filename or 'a file'} is gone while it is needed: every finished run is kept;"
            " put it back, then run the same command again.",
            file=sys.stderr,
        )
        return 2
    if isinstance(error, MemoryError):
        told = " ".join(str(error).split()).rstrip(".") or "no more can be had"
        print(f"lora-jax: There is not enough memory ({told}): ask for less at a time.", file=sys.stderr)
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
        if argv[0] in experiments or argv[0] == "quickstart":  # its config ships with the package
            anywhere = ", or lora-jax scaling quickstart in any folder" if argv[0] == "quickstart" else ""
            raise LoraJaxError(
                f"{argv[0]!r} is an experiment, not a command: run ./launch.sh {argv[0]} in a clone"
                f"{anywhere}."
            )
        raise LoraJaxError(
            f"unknown command {argv[0]!r}{nearest(argv[0], {*commands, *experiments})}; see --help."
        )
    arguments, rest = parser.parse_known_args(argv)
    refuse_spaces(argv[1:], rest, arguments)
    # argparse takes overrides only right after the config, not after an option
    if rest and getattr(arguments, "config", "") is None and "=" not in rest[0] and rest[0][0] != "-":
        arguments.config = Path(rest.pop(0))  # an optional config: argparse takes it only at the start
    if rest and not ("overrides" in arguments and all("=" in text and text[0] != "-" for text in rest)):
        if argv[0] not in commands:  # an option before the command
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        raise LoraJaxError(_refuse_words(argv[0], rest, commands[argv[0]].format_help()))
    if rest:
        arguments.overrides += rest
    arguments.words = argv[1:]
    return arguments.run(arguments)


def _refuse_words(command: str, rest: Sequence[str], help_text: str) -> str:
    """Return the sentence about words that the command does not take. `help_text` has its options."""
    said = f"{command} does not take {' '.join(rest)!r}"
    option = rest[0].partition("=")[0]
    known: list[str] = re.findall(r"--[a-z][\w-]*", help_text) if option.startswith("--") else []
    close = nearest(option, known) if closest(option, known) else ""  # a list of all options is no help
    return f"{said}{close}: `lora-jax {command} --help` lists what it takes."


def _build_parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    parser = argparse.ArgumentParser(
        prog="lora-jax",
        description="Fit scaling laws, train sweeps, and fine-tune language models with LoRA and related"
        " methods.",
    )
    parser.add_argument("--version", action="version", version=f"lora-jax {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (
        fit,
        compare,
        speedup,
        design,
        laws,
        count,
        sizes,
        report,
        plan,
        compile,
        scaling,
        finetune,
        finetune_laws,
        incontext,
        transfer,
        ablation,
        surface,
        coordinates,
        work,
        watch,
        dashboard,
        fetch,
        merge,
        export,
        generate,
        evaluate,
    ):
        command.add(commands)
    return parser, dict(commands.choices)


if __name__ == "__main__":
    sys.exit(main())
