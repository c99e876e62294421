"""Several sinks as one. If a sink fails, one line says so, it is left out, and training continues."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from lora_jax.errors import LoraJaxError
from lora_jax.training.rows import Row, Sink, Source

T = TypeVar("T", bound=Sink)


@dataclass
class Together:
    """Passes everything to each of its sinks, in their order.

    Attributes:
        sinks: The sinks.
        say: Called with a line if a sink fails.
    """

    sinks: list[Sink]
    say: Callable[[str], None]

    def begin(self, source: Source, step: int) -> None:
        """Begin a stream in each sink."""
        self._each(lambda sink: sink.begin(source, step))

    def take(self, source: Source, row: Row) -> None:
        """Give a row to each sink."""
        self._each(lambda sink: sink.take(source, row))

    def end(self, source: Source) -> None:
        """End a stream in each sink."""
        self._each(lambda sink: sink.end(source))

    def _each(self, give: Callable[[Sink], None]) -> None:
        for sink in list(self.sinks):
            self.attempt(sink, give)

    def attempt(self, sink: T, give: Callable[[T], None]) -> None:
        """Call `give` with a sink, unless the sink has failed before."""
        if sink not in self.sinks:
            return
        try:
            give(sink)
        except (OSError, LoraJaxError) as error:
            self.sinks.remove(sink)
            self.say(f"{type(sink).__name__} is left out from here on ({error}); training goes on.")
