"""Files that are damaged behind a program's back."""

import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

from tests.faults.attempts import Attempt, Reference, Tally, changed, look_around
from tests.faults.spawn import Outcome
from tests.faults.workshop import Subject, Workshop

DERIVED = {".png", ".svg", ".html"}  # drawn anew from what is checked
KINDS = ("flip", "flip", "flip", "truncate", "empty", "remove", "garbage")


def damage(
    workshop: Workshop, subject: Subject, reference: Reference, chance: random.Random, tally: Tally
) -> None:
    """Damage one file that a subject has written, midway or at its end; then run it to its end.

    What comes out is the same, or one sentence refuses. Never other numbers, never a stack trace.
    """
    attempt = Attempt(subject, workshop.attempt(subject), reference)
    child = workshop.begin(subject, attempt.folder)
    if chance.random() < 0.6:
        delay = chance.uniform(0.3, 1.0) * reference.seconds
        if child.poll_until(child.began + delay) is None:
            child.send(signal.SIGKILL)
            child.wait()
            attempt.story.append(f"SIGKILL after {delay:.2f} s")
    else:
        child.wait()
        attempt.story.append("ended")
    files = sorted(p for p in written_files(attempt.folder) if p.suffix not in DERIVED)
    if not files:
        tally.add("nothing to damage")
        return
    attempt.damaged = path = chance.choice(files)
    kind = chance.choice(KINDS)
    attempt.story.append(f"{_damage(path, kind, chance)} in {path.relative_to(attempt.folder)}")
    tally.add(f"file: {kind}")
    judge(workshop, attempt, workshop.run(subject, attempt.folder), tally)


def written_files(folder: Path) -> Iterator[Path]:
    for place in ("out", "cache", "before"):
        yield from (path for path in (folder / place).rglob("*") if path.is_file() and not path.is_symlink())


def _damage(path: Path, kind: str, chance: random.Random) -> str:
    content = bytearray(path.read_bytes())
    if kind == "flip" and content:
        place, bit = chance.randrange(len(content)), chance.randrange(8)
        content[place] ^= 1 << bit
        path.write_bytes(bytes(content))
        return f"bit {bit} of byte {place} of {len(content)} flipped"
    if kind == "remove":
        path.unlink()
        return "removed"
    if kind == "garbage":
        path.write_bytes(chance.randbytes(max(1, len(content))))
        return "garbage of the same size"
    size = 0 if kind == "empty" or len(content) < 2 else chance.randrange(1, len(content))
    path.write_bytes(bytes(content[:size]))
    return f"cut to {size} of {len(content)} bytes"


def judge(workshop: Workshop, attempt: Attempt, outcome: Outcome, tally: Tally) -> None:
    """After damage: the same results, or a refusal in one sentence."""
    if outcome.hung:
        tally.find(attempt, "it hangs", outcome)
    elif outcome.has_trace:
        tally.find(attempt, "a stack trace", outcome)
    elif outcome.status == 0:
        other = changed(attempt)
        if other and _is_refused_when_read(workshop, attempt, other):
            tally.add("refused in a sentence, once it is read")
            shutil.rmtree(attempt.folder)
            return
        if other:
            tally.find(attempt, f"other results: {other}")
        else:
            tally.add("mended, or without effect")
            look_around(workshop, attempt, tally)
            shutil.rmtree(attempt.folder)
    elif outcome.status == 2 and outcome.sentence:
        tally.add("refused in a sentence")
        shutil.rmtree(attempt.folder)
    else:
        tally.find(attempt, f"it ended with {outcome.status}", outcome)


def _is_refused_when_read(workshop: Workshop, attempt: Attempt, other: str) -> bool:
    """Whether all that differs is a damaged adapter, which is read by who uses it and not by its sweep."""
    path, out = attempt.damaged, attempt.folder / "out"
    if path is None or path.suffix != ".safetensors" or not path.is_relative_to(out):
        return False
    if not other.startswith(
        (f"/{path.relative_to(out)}:", f": missing ['{path.relative_to(out)}'], more []")
    ):
        return False
    if not path.exists():
        return True
    read = workshop.merge(path if path.parent.name == "adapters" else path.parent, attempt.folder)
    return read.status == 2 and read.sentence is not None
