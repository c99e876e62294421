"""Several sinks as one. A sink that fails is told of, once, and left out: training goes on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from lora_jax.errors import LoraJaxError
from lora_jax.training.rows import Row, Sink, Source

T = TypeVar("T", bound=Sink)


@dataclass
class Together:
    """Gives what it is given to each of its sinks, in their order.

    say: told, in a line, of a sink that failed.
    """

    sinks: list[Sink]
    say: Callable[[str], None]

    def begin(self, source: Source, step: int) -> None:
        self._each(lambda sink: sink.begin(source, step))

    def take(self, source: Source, row: Row) -> None:
        self._each(lambda sink: sink.take(source, row))

    def end(self, source: Source) -> None:
        self._each(lambda sink: sink.end(source))

    def _each(self, give: Callable[[Sink], None]) -> None:
        for sink in list(self.sinks):
            self.attempt(sink, give)

    def attempt(self, sink: T, give: Callable[[T], None]) -> None:
        """Give a sink something, unless it has failed before."""
        if sink not in self.sinks:
            return
        try:
            give(sink)
        except (OSError, LoraJaxError) as error:
            self.sinks.remove(sink)
            self.say(f"{type(sink).__name__} is left out from here on ({error}); training goes on.")
