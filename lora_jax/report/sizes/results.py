"""The sizes of published language models, as types: what `lora-jax sizes --json` prints.

Every field is a key of the document of the same name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from lora_jax.documents import fields_to_document
from lora_jax.estimate import Estimate


@dataclass(frozen=True, kw_only=True)
class LossOfSize(Estimate):
    """The loss that the law predicts.

    Attributes:
        beyond: How many times beyond the largest of the law's runs the model lies.
    """

    unit: str
    beyond: float | None


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What follows from a model's shape.

    Attributes:
        difference: n_params over the published count, less 1.
    """

    n_params: int
    difference: float
    tokens_per_param: float
    seq_len: int
    flops_6nd: int
    flops_exact: int
    train_bytes: int
    weights_bytes: int
    cache_bytes: int
    serve_bytes: int


@dataclass(frozen=True, kw_only=True)
class ModelSize:
    """One model.

    Attributes:
        counted: None if its shape or its tokens are not published.
        loss: None without a law.
    """

    model: str
    creators: str
    year: int
    n_tokens: int | None
    announced_params: int | None
    published_params: int | None
    counted: Counted | None
    loss: LossOfSize | None
    source: str
    notes: tuple[str, ...]

    def to_document(self) -> dict[str, Any]:
        """Return what was counted beside the rest, null where nothing could be."""
        document = fields_to_document(self)
        rest = {name: document.pop(name) for name in ("loss", "source", "notes")}
        counted = document.pop("counted") or dict.fromkeys(field.name for field in fields(Counted))
        return document | counted | rest


@dataclass(frozen=True, kw_only=True)
class SizesLaw:
    """The law behind the losses, and what it was fitted to.

    Attributes:
        unavailable: Why there is no law.
    """

    formula: str
    reference: str
    table: str
    command: str
    corpus: str
    n_runs: int | None
    params: Mapping[str, Estimate] | None
    verdict: str | None
    unavailable: str | None


@dataclass(frozen=True)
class Conventions:
    """How each number is counted, in words."""

    n_params: str
    flops_6nd: str
    flops_exact: str
    train_bytes: str
    serve_bytes: str


@dataclass(frozen=True)
class SizesReport:
    """The models, the law of their losses, and how they are counted."""

    models: tuple[ModelSize, ...]
    law: SizesLaw
    conventions: Conventions
