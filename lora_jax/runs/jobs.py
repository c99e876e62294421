"""How the jobs of a sweep are handed out.

The first process takes them in rounds and tells the other processes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain

from lora_jax.config import RunConfig
from lora_jax.runs.groups import Group
from lora_jax.runs.rounds import Rounds
from lora_jax.training.checkpoint import do_nothing
from lora_jax.training.processes import hear, tell

Held = tuple[tuple[RunConfig, ...], Callable[[], None]]  # the runs of a trunk, and the guard of their lease


def hand_out(groups: Sequence[Group], rounds: Rounds) -> Iterator[tuple[Rounds, Group, Iterator[Held]]]:
    """Yield the groups from which this worker has trunks, with these trunks, until every run has its record.

    Other processes of the computation are told of each trunk when it is taken (`follow_out`).
    """
    for turn in rounds:
        for group in groups:
            held = _hold_trunks(group, turn)
            first = next(held, None)
            if first is not None:
                tell(True)
                yield turn, group, _tell_each(chain([first], held), group)


def follow_out(runs: Mapping[str, RunConfig]) -> Iterator[Iterator[Held]]:
    """Yield the trunks that the first process takes, group by group, until the first process ends.

    Args:
        runs: The runs by their ids.

    Raises:
        LeaderEnded: The first process has ended.
    """
    while hear():
        yield ((tuple(runs[run_id] for run_id in ids), do_nothing) for ids in iter(hear, []))


def _tell_each(held: Iterator[Held], group: Group) -> Iterator[Held]:
    ids = {item.run: item.run_id for trunk in group.trunks for item in trunk}
    for runs, guard in held:
        tell([ids[run] for run in runs])
        yield runs, guard
    tell([])


def _hold_trunks(group: Group, turn: Rounds) -> Iterator[Held]:
    """Take the trunks of a group one after another, each with its runs that have no record yet.

    Rivals of successive halving are taken together, because at a rung each waits for the others.
    """
    together = group.name if group.rungs else None
    guard = turn.hold(group.name, group.run_ids) if together else None
    if together and guard is None:
        return
    for trunk in group.trunks:
        own = guard if together else turn.hold(trunk[0].trunk_id, [item.run_id for item in trunk])
        runs = tuple(item.run for item in trunk if turn.is_left(item.run_id))
        if own is not None and runs:
            yield runs, own
