"""A campaign: subjects and attacks are drawn by a seed until the time is over."""

import importlib
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.faults.attempts import Attack, Tally, undisturbed
from tests.faults.damaged_files import damage
from tests.faults.disks import can_mount, crowd, fill
from tests.faults.kills import kill
from tests.faults.workshop import Workshop, subjects

PRELOADED = (
    "matplotlib.pyplot",
    "optax",
    "orbax.checkpoint",
    "scipy.optimize",
    "experiments.finetune",
    "experiments.incontext",
    "experiments.scaling",
    "lora_jax.finetuning.execute",
    "lora_jax.prompting.incontext.experiment",
    "lora_jax.runs.execute",
    "lora_jax.scaling",
)


def campaign(folder: Path, seed: int, minutes: float, only: Sequence[str] = ()) -> Tally:
    """Attack for so many minutes, once the undisturbed runs are made. only: subjects, attacks; none is all.

    The environment names one compilation cache for all attempts: most of their time would be compilation.
    """
    import_programs()
    workshop, tally, chance = Workshop(folder), Tally(), random.Random(seed)
    attacks: dict[str, tuple[Attack, float]] = {
        "kill": (kill, 5.0),
        "damage": (damage, 4.0),
        "crowd": (crowd, 1.0),
    }
    if can_mount():
        attacks["fill"] = (fill, 1.0)
    else:
        tally.add("no disk could be mounted: full disks by a limit on the size of files alone")
    every = subjects(workshop)
    known = [s.name for s in every] + list(attacks)
    if unknown := set(only) - set(known):
        raise SystemExit(
            f"--only names {', '.join(sorted(unknown))}: give some of {', '.join(known)}, inputs."
        )
    chosen = [s for s in every if not set(only) & {o.name for o in every} or s.name in only]
    ways = {k: v for k, v in attacks.items() if not set(only) & set(attacks) or k in only}
    needed = {s.begins_with for s in chosen}
    references = {s.name: undisturbed(workshop, s) for s in every if s in chosen or s.name in needed}
    took = ", ".join(f"{name} {reference.seconds:.1f} s" for name, reference in references.items())
    print(f"undisturbed: {took}", file=sys.stderr, flush=True)
    end = time.monotonic() + 60 * minutes
    said = time.monotonic()
    while time.monotonic() < end:
        if time.monotonic() > said + 60:
            said = time.monotonic()
            print(
                f"{(end - said) / 60:.0f} min to go: {dict(tally.counts)}, {len(tally.findings)} findings",
                file=sys.stderr,
            )
        subject = chance.choices(chosen, [s.weight for s in chosen])[0]
        attack, _ = chance.choices(list(ways.values()), [weight for _, weight in ways.values()])[0]
        if attack is damage and subject.makes_once:
            continue  # what it has made is not read again by it
        found = len(tally.findings)
        attack(workshop, subject, references[subject.name], chance, tally)
        for finding in tally.findings[found:]:  # as it comes: the end may be an hour away
            print(f"FOUND  {finding}", file=sys.stderr, flush=True)
    return tally


def import_programs() -> None:
    """Import what the children need, so that a fork starts at once; nothing here starts a thread."""
    for name in PRELOADED:
        importlib.import_module(name)
