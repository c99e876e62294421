"""GPT-2 medium and the sizes of the LoRA paper's Table 1, whole or scaled down with their proportions kept.

Divided by n are width, depth, heads and the length of the sequences, so that the width of a head and
attention's share of a pass stay what they are, and by n^2 the vocabulary, so that the output head's share
does. The batch is the paper's: 1 cannot be divided.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.model.declare import declare
from lora_jax.params import count
from lora_jax.peft.method import MethodConfig
from lora_jax.peft.methods.adapters import AdapterH, AdapterL
from lora_jax.peft.methods.lora import LoRA

DIVISORS = (1, 2, 4, 8)  # of 16 heads and of 24 layers
ON_CPU = 8  # the divisor whose 100 trials take about a minute on two cores
N_GPT2_MEDIUM = 355e6


@dataclass(frozen=True)
class Size:
    """A forward pass of Table 1: sequences, tokens in each, and |Theta| over the parameters of the base."""

    batch: int
    seq_len: int
    share_added: float

    @property
    def label(self) -> str:
        return f"{self.batch} x {self.seq_len}"

    @property
    def tokens(self) -> int:
        return self.batch * self.seq_len


PAPER = (
    Size(32, 512, 0.5e6 / N_GPT2_MEDIUM),
    Size(16, 256, 11e6 / N_GPT2_MEDIUM),
    Size(1, 128, 11e6 / N_GPT2_MEDIUM),
)

Make = Callable[[int], MethodConfig]  # of a rank
METHODS: dict[str, Make] = {
    "AdapterL": lambda rank: AdapterL(rank=rank),
    "AdapterH": lambda rank: AdapterH(rank=rank),
    "LoRA": lambda rank: LoRA(rank=rank, targets=("q", "v")),
}


def shape_model(divisor: int) -> ModelConfig:
    """Return GPT-2 medium's shape, divided. Raises LoraJaxError for a divisor that leaves parts of a head."""
    check_divisor(divisor)
    return ModelConfig(
        d_model=1024 // divisor,
        n_layers=24 // divisor,
        n_heads=16 // divisor,
        context=1024 // divisor,
        vocab_size=math.ceil(50_257 / divisor**2),
    )


def shape_sizes(divisor: int) -> tuple[Size, ...]:
    """Return the sizes of Table 1 from the largest to the smallest, their sequences divided."""
    check_divisor(divisor)
    return tuple(Size(size.batch, size.seq_len // divisor, size.share_added) for size in PAPER)


def check_divisor(divisor: int) -> None:
    if divisor not in DIVISORS:
        raise LoraJaxError(
            f"--divide is {divisor}, but it must be one of {', '.join(map(str, DIVISORS))}, which divide"
            " GPT-2 medium's 16 heads and 24 layers: choose one of them."
        )


def choose_method(name: str, model: ModelConfig, share: float) -> MethodConfig:
    """Return a method of METHODS with the rank that adds closest to this share of the base's parameters.

    What a method adds is linear in its rank, so that two ranks tell it of all.
    """
    make, wanted = METHODS[name], share * count(declare(model))
    first, second = (count_added(make(rank), model) for rank in (1, 2))
    return make(max(1, 1 + round((wanted - first) / (second - first))))


def count_added(method: MethodConfig, model: ModelConfig) -> int:
    """Return how many parameters a method adds to the base."""
    built, base = method.build(model), declare(model)
    return count({path: spec for path, spec in built.specs.items() if path not in base})
