"""One folder in which one program is attacked, and what must hold once it has run to its end."""

import random
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.products import Product, difference
from tests.faults.spawn import Outcome
from tests.faults.workshop import Subject, Workshop


@dataclass(frozen=True)
class Reference:
    """What a subject makes undisturbed, and in how many seconds."""

    product: Product
    seconds: float


@dataclass
class Tally:
    """What was done and found. findings: a sentence for each thing that must not be."""

    counts: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def add(self, *names: str) -> None:
        self.counts.update(names)

    def find(self, attempt: "Attempt", what: str, outcome: Outcome | None = None) -> None:
        tail = "" if outcome is None else f" | {' / '.join(outcome.err.strip().splitlines()[-6:])[-900:]}"
        self.findings.append(f"{attempt.subject.name} in {attempt.folder}: {attempt.story}: {what}{tail}")


@dataclass
class Attempt:
    """One folder in which one subject is attacked. story: what was done to it, in order."""

    subject: Subject
    folder: Path
    reference: Reference
    story: list[str] = field(default_factory=list)
    damaged: Path | None = None


def undisturbed(workshop: Workshop, subject: Subject) -> Reference:
    """Run a subject twice in folders of its own; both must make the same. The later one is the faster."""
    products, seconds = [], 0.0
    for name in ("first", subject.name):
        folder = workshop.root / "undisturbed" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        if subject.begins_with is not None:
            shutil.copytree(workshop.finished(subject.begins_with), folder / "before")
        done = workshop.run(subject, folder)
        if done.status:
            raise RuntimeError(f"{subject.name} does not run undisturbed: {done.err}")
        products.append(subject.product(folder / "out"))
        seconds = done.seconds
    other = difference(products[0], products[1], subject.rel)
    if other:
        raise RuntimeError(f"{subject.name} makes other results each time: {other}")
    return Reference(products[0], seconds)


def kept(folder: Path) -> Mapping[str, bytes]:
    """Return the finished records of an attempt by name."""
    places = [folder / "out" / part for part in ("runs", "prompts")]
    return {
        f"{place.name}/{path.name}": path.read_bytes()
        for place in places
        if place.is_dir()
        for path in place.glob("*.json")
        if not path.name.startswith(".")
    }


def finish(workshop: Workshop, attempt: Attempt, tally: Tally) -> None:
    """Run to the end what was interrupted, and compare with what an undisturbed run made."""
    subject, folder, found = attempt.subject, attempt.folder, len(tally.findings)
    before = kept(folder)
    if not (subject.makes_once and (folder / "out").exists()):
        outcome = workshop.run(subject, folder)
        if outcome.status or outcome.has_trace or outcome.hung:
            tally.find(attempt, f"the same command then ended with {outcome.status}", outcome)
            return
    lost = [name for name, content in before.items() if kept(folder).get(name) != content]
    if lost:
        tally.find(attempt, f"finished runs were lost: {lost}")
    _compare(attempt, tally)
    look_around(workshop, attempt, tally)
    tally.add("attempts")
    if len(tally.findings) == found:  # else somebody looks at it
        shutil.rmtree(folder)


def _compare(attempt: Attempt, tally: Tally) -> None:
    other = changed(attempt)
    if other:
        tally.find(attempt, f"other results: {other}")


def changed(attempt: Attempt) -> str | None:
    """Return how the results differ from those of an undisturbed run, or None."""
    found = attempt.subject.product(attempt.folder / "out")
    return difference(attempt.reference.product, found, attempt.subject.rel)


def look_around(workshop: Workshop, attempt: Attempt, tally: Tally) -> None:
    """Nothing lies outside what was named, and nothing temporary is left in it."""
    foreign = workshop.foreign_files(attempt.folder)
    if foreign:
        tally.find(attempt, f"files where none belong: {foreign}")
    left = sorted(str(p.relative_to(attempt.folder)) for p in attempt.folder.rglob("*.tmp"))
    if left:
        tally.find(attempt, f"temporary files are left: {left[:4]}")


Attack = Callable[[Workshop, Subject, Reference, random.Random, Tally], None]
