"""What a latency table found, as types: latency.json.

Every field is a key of the document; `documents.py` writes and reads it. Whoever needs a result takes these
and no dictionary.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lora_jax.documents import from_document

KIND = "latency"  # of the document
FORMAT = 1
CAME_OUT, DID_NOT, UNDECIDED = "came out", "did not come out", "is not decided"


@dataclass(frozen=True)
class Median:
    """A median over trials, of seconds or of ratios less one, and the ends of its 95 % interval."""

    value: float
    ci95: tuple[float, float]

    @property
    def low(self) -> float:
        return self.ci95[0]

    @property
    def high(self) -> float:
        return self.ci95[1]


@dataclass(frozen=True)
class VariantTimes:
    """What was timed at one size: the base, merged LoRA, an adapter, or LoRA beside its base.

    Attributes:
        method: Config of the method. None for the base.
        n_added: Parameters beside the base.
        time: In seconds.
        overhead: Over the base, in pairs. None for the base.
        paper_overhead: The value in Table 1, if it has one.
        seconds: Time of every trial, in order.
    """

    name: str
    method: Mapping[str, Any] | None
    n_added: int
    time: Median
    overhead: Median | None
    paper_overhead: float | None
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class SizeTimes:
    """Every variant at one size, the base first.

    Attributes:
        share_added: Parameters that an adapter adds, over those of the base.
        paper: Label of the paper's size that this one stands for, and the milliseconds of its base.
        h_over_l: AdapterH over AdapterL, in pairs.
    """

    label: str
    batch: int
    seq_len: int
    share_added: float
    paper: str
    paper_milliseconds: float
    h_over_l: Median
    variants: tuple[VariantTimes, ...]

    @property
    def base(self) -> VariantTimes:
        return self.variants[0]

    def __getitem__(self, name: str) -> VariantTimes:
        return next(variant for variant in self.variants if variant.name == name)

    def overhead(self, name: str) -> Median:
        """Return the overhead of a variant by its name, which is not the base's."""
        found = self[name].overhead
        assert found is not None, f"{name} is what the others are over"
        return found


@dataclass(frozen=True)
class Statement:
    """A claim of the paper, or ours, and whether it came out: CAME_OUT, DID_NOT or UNDECIDED; in words."""

    key: str
    claim: str
    verdict: str
    words: str


@dataclass(frozen=True)
class ModelShape:
    """What a table says of the model's config."""

    d_model: int
    n_layers: int
    n_heads: int
    vocab_size: int


@dataclass(frozen=True)
class LatencyTable:
    """All that was timed, and what it shows, as in latency.json.

    Attributes:
        divisor: The number by which GPT-2 medium's shape and the paper's sequences were divided.
        n_untimed: Passes before each timed one.
        load_average, others: As in `benchmarks.figures.Provenance`.
        model: The model's config.
    """

    kind: str
    format: int
    command: str
    device: str
    versions: Mapping[str, str]
    git_commit: str | None
    load_average: float
    others: float | None
    created_at: str
    divisor: int
    seed: int
    n_trials: int
    n_untimed: int
    model: Mapping[str, Any]
    n_params: int
    dtype: str
    sizes: tuple[SizeTimes, ...]
    statements: tuple[Statement, ...]

    @property
    def shape(self) -> ModelShape:
        return from_document(ModelShape, self.model, "model")
