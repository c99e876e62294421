"""Steps of a long computation: told to who listens, in full, and to nobody else."""

from collections.abc import Callable

from lora_jax.scaling.fitting.fit import fit
from lora_jax.scaling.intervals.uncertainty import bootstrap
from lora_jax.scaling.laws import CHINCHILLA
from lora_jax.scaling.progress import begin_step, listening
from lora_jax.scaling.tables.table import RunTable


def test_a_listener_hears_of_every_part_and_of_nothing_after() -> None:
    heard: list[tuple[str, int, int]] = []
    with listening(lambda *step: heard.append(step)):
        done = begin_step("counting", 3)
        done(1)
        done(2)
    begin_step("unheard", 1)(1)
    assert heard == [("counting", 0, 3), ("counting", 1, 3), ("counting", 3, 3)]


def test_a_bootstrap_tells_of_each_replicate(sweep: Callable[..., RunTable]) -> None:
    found = fit(CHINCHILLA, sweep())
    heard: list[tuple[str, int, int]] = []
    with listening(lambda *step: heard.append(step)):
        with_ear = bootstrap(found, 60)
    assert heard[-1][1:] == (60, 60)
    assert [done for _, done, _ in heard] == sorted(done for _, done, _ in heard)
    assert (bootstrap(found, 60).theta == with_ear.theta).all()
