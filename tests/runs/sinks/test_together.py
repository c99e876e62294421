"""A sink that fails is left out, once and told; the others go on."""

from dataclasses import dataclass, field

from lora_jax.runs.sinks.together import Together
from lora_jax.training.rows import Row, Source
from tests.runs.sinks.test_live_file import SOURCE, row


@dataclass
class Counting:
    fails_at: int | None = None
    taken: list[int] = field(default_factory=list)

    def begin(self, source: Source, step: int) -> None: ...

    def take(self, source: Source, row: Row) -> None:
        if row.step == self.fails_at:
            raise OSError(28, "No space left on device")
        self.taken.append(row.step)

    def end(self, source: Source) -> None: ...


def test_a_failing_sink_is_left_out() -> None:
    said: list[str] = []
    good, bad, last = Counting(), Counting(fails_at=2), Counting()
    together = Together([good, bad, last], said.append)
    for step in (1, 2, 3, 4):
        together.take(SOURCE, row(step))
    assert (good.taken, bad.taken, last.taken) == ([1, 2, 3, 4], [1], [1, 2, 3, 4])
    (line,) = said
    assert "No space left on device" in line
