"""The exception for a user's mistake, and the hint that names the nearest known word."""

import difflib
from collections.abc import Iterable


class LoraJaxError(Exception):
    """A mistake that the user can mend. One sentence says what we got, what we wanted and what to do.

    The command line prints it without a stack trace and exits with status 2.
    """


class ProcessLost(Exception):
    """Another process of the same computation has ended.

    There is nothing to mend, and all processes start again.

    The command line prints the message and exits with `status`. From it the process that started a worker
    knows that it should start the worker again.
    """

    status = 75  # EX_TEMPFAIL of sysexits.h: a failure that may pass, so try again


class Damaged(LoraJaxError):
    """A file that this program wrote is not what it was.

    Code that can make it again does so. Otherwise we report it.
    """


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name most like `name`, or None if none is like it."""
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return close[0] if close else None


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `" (nearest: 'x')"` for the known name most like `name`.

    If none is like it, list the known names.
    """
    names = sorted(known)
    close = closest(name, names)
    if close is not None:
        return f" (nearest: {close!r})"
    return f" (known: {', '.join(names)})" if names else ""
