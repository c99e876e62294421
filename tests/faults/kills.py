"""Signals at random moments."""

import random
import signal
import time

from tests.faults.attempts import Attempt, Reference, Tally, finish, kept
from tests.faults.workshop import Subject, Workshop

SIGNALS = {signal.SIGKILL: 0.8, signal.SIGTERM: 0.14, signal.SIGINT: 0.06}
MOST_KILLS = 4  # of one attempt


def kill(
    workshop: Workshop, subject: Subject, reference: Reference, chance: random.Random, tally: Tally
) -> None:
    """Interrupt a subject at random moments, then let it end: nothing is lost, the results are the same."""
    attempt = Attempt(subject, workshop.attempt(subject), reference)
    for _ in range(chance.randint(1, MOST_KILLS)):
        signum = chance.choices(list(SIGNALS), list(SIGNALS.values()))[0]
        delay = chance.uniform(0, 1.05 * reference.seconds)
        before = kept(attempt.folder)
        child = workshop.begin(subject, attempt.folder)
        if child.poll_until(child.began + delay) is not None:
            tally.add("too late")
            break
        child.send(signum)
        sent = time.monotonic()
        outcome = child.wait(sent - child.began + 60)
        name = signal.Signals(signum).name
        attempt.story.append(f"{name} after {delay:.2f} s")
        tally.add(name)
        if outcome.hung:
            tally.find(attempt, "it went on for 60 s", outcome)
        elif outcome.status not in (-signum, 128 + signum, 0):
            tally.find(attempt, f"it ended with {outcome.status}", outcome)
        if outcome.has_trace:
            tally.find(attempt, "a stack trace", outcome)
        lost = [name for name, content in before.items() if kept(attempt.folder).get(name) != content]
        if lost:
            tally.find(attempt, f"finished runs were lost: {lost}")
    finish(workshop, attempt, tally)
