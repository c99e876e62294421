"""Numbers with intervals that only the laboratory has: parameters and predictions."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from lora_jax.documents import fields_to_document
from lora_jax.estimate import Estimate


@dataclass(frozen=True, kw_only=True)
class Parameter(Estimate):
    """A parameter of a law.

    Attributes:
        unit: Its unit.
        fixed: Whether it was held at a value instead of fitted.
    """

    unit: str
    fixed: bool

    @property
    def is_fixed(self) -> bool:
        """Whether the parameter was held at a value instead of fitted."""
        return self.fixed or self.by == "fixed"

    def plain(self) -> Estimate:
        """Return the number and its interval without the fields that only a parameter has."""
        return Estimate(**{f.name: getattr(self, f.name) for f in fields(Estimate)})


@dataclass(frozen=True, kw_only=True)
class Resampled(Estimate):
    """A number that some replicates may lack.

    Attributes:
        ci80: The 80 % interval. None for parameters that were given.
        undefined: Share of the replicates in which the number does not exist. None for parameters that were
            given.
    """

    ci80: tuple[float, float] | None
    undefined: float | None


@dataclass(frozen=True, kw_only=True)
class Prediction(Resampled):
    """What a law predicts at a point that was asked for.

    Attributes:
        quantity: What is predicted.
        at: The point, by variable.
        unit: Unit of the prediction.
        beyond: The point's value over the largest value in the table. None if the table does not say.
        beyond_of: The variable that `beyond` is about. None if the table does not say.
    """

    quantity: str
    at: Mapping[str, float]
    unit: str
    beyond: float | None
    beyond_of: str | None

    def to_document(self) -> dict[str, Any]:
        """Return the fields, `quantity` and `at` first."""
        document = fields_to_document(self)
        first = {name: document.pop(name) for name in ("quantity", "at")}
        return first | document
