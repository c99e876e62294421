"""The one exception that a user's mistake raises, and the nearest-name hint that goes with it."""

import difflib
from collections.abc import Iterable


class LoraJaxError(Exception):
    """A mistake the user can mend: one sentence with what was got, what was wanted and what to do.

    The command line prints it without a stack trace and exits with status 2.
    """


class ProcessLost(Exception):
    """Another process of the same computation has ended: nothing is to be mended, all are started again.

    The command line prints it and exits with `status`, by which a worker's starter starts it again.
    """

    status = 75  # of sysexits.h: a passing failure, to be tried again


class Damaged(LoraJaxError):
    """A file that this program wrote is not what it was: who can make it again does so, else it is told."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `" (nearest: 'x')"` for the known name most like `name`, or what there is to choose from."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f" (nearest: {close[0]!r})"
    return f" (known: {', '.join(names)})" if names else ""
