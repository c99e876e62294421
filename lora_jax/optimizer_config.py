"""What a configuration may name as an optimizer: its kind and its numbers. The rules are in training."""

from typing import Any, ClassVar, Protocol, runtime_checkable


@runtime_checkable
class OptimizerConfig(Protocol):
    """An optimizer's numbers, as a frozen dataclass; each file of training/optimizers/ has one.

    Attributes:
        kind: Its name, such as "muon". It is a field, so that no two optimizers share a run_id.
        takes_rate: Whether its rule needs the learning rate inside.
    """

    @property
    def kind(self) -> str: ...

    takes_rate: ClassVar[bool]

    def transform(self, specs: Any, scales: Any) -> Any: ...
