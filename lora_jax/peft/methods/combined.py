"""Several methods at once, such as prefixes and parallel adapters (MAM)."""

from dataclasses import dataclass
from functools import reduce

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.model.declare import declare
from lora_jax.model.hooks import chain_hooks
from lora_jax.params import Params, init
from lora_jax.peft.method import Method, MethodConfig, task_head
from lora_jax.peft.methods.adapters import ParallelAdapter
from lora_jax.peft.methods.prefix import Prefix
from lora_jax.ranges import check_fields


@dataclass(frozen=True, kw_only=True)
class Combined:
    """Several methods at once. Each acts on what those before it made of the base.

    A weight trains if any of the methods trains it. The combination merges if all of the methods do.

    Attributes:
        methods: The methods, in order.
    """

    methods: tuple[MethodConfig, ...]

    def __post_init__(self) -> None:
        check_fields(self, "Combined")

    def build(self, model: ModelConfig) -> Method:
        """Return the method for a model.

        Raises:
            LoraJaxError: There are no methods, they adapt different blocks, two add the same weight, or one
                puts a prompt before embeddings that a later one changes.
        """
        if not self.methods:
            raise LoraJaxError("Combined.methods is empty, but it must hold at least one method: add one.")
        names = [type(config).__name__ for config in self.methods]
        parts = [config.build(model) for config in self.methods]
        _check_stacks(names, parts)
        base = declare(model, parts[0].n_top)
        _check_paths(names, parts, frozenset(base))
        _check_embeddings(names, parts)
        mergeable = [part.merge for part in parts if part.merge is not None]
        return Method(
            specs={path: spec for part in parts for path, spec in part.specs.items()},
            trainable=frozenset().union(*(part.trainable for part in parts), task_head(base)),
            hooks=reduce(chain_hooks, (part.hooks for part in parts)),
            start=lambda weights, seed: _start(parts, weights, seed),
            merge=(lambda params: _merge(parts, params)) if len(mergeable) == len(parts) else None,
            n_top=parts[0].n_top,
            rates={path: rate for part in parts for path, rate in part.rates.items()},
            scales={path: scale for part in parts for path, scale in part.scales.items()},
        )


def mam(*, length: int = 30, rank: int = 512) -> Combined:
    """Make the mix-and-match adapter: a prefix on attention and a wider parallel adapter on the MLP.

    Args:
        length: Length of the prefix. The default is the paper's, for models of d_model 1024.
        rank: Width of the parallel adapter. The default is the paper's.

    Reference: He et al. 2022 (arXiv 2110.04366), section 4.6.
    """
    return Combined(methods=(Prefix(length=length), ParallelAdapter(rank=rank)))


def _start(parts: list[Method], base: Params, seed: int) -> tuple[Params, Params]:
    added: Params = {}
    for part in parts:
        if part.start is None:
            own = init({path: spec for path, spec in part.specs.items() if path not in base}, seed)
        else:
            base, own = part.start(base, seed)
        added |= own
    return base, added


def _merge(parts: list[Method], params: Params) -> Params:
    """Merge one method after the other, in the order in which the hooks act."""
    for part in parts:
        assert part.merge is not None
        merged = part.merge(params)
        params = {**params, **merged}
    return {path: params[path] for path in merged}


def _check_stacks(names: list[str], parts: list[Method]) -> None:
    for name, part in zip(names, parts, strict=True):
        if part.n_top != parts[0].n_top:
            raise LoraJaxError(
                f"Combined: {names[0]} is for the top {parts[0].n_top} blocks and {name} for the top"
                f" {part.n_top} (0: every block), they must agree: change top_layers of one."
            )


def _check_paths(names: list[str], parts: list[Method], base: frozenset[str]) -> None:
    owner: dict[str, str] = {}
    for name, part in zip(names, parts, strict=True):
        shared = sorted(path for path in part.specs if path in owner)
        if shared:
            raise LoraJaxError(
                f"Combined: {owner[shared[0]]} and {name} both add {shared[0]}, no two methods may add the"
                " same weight: drop one, or give them different targets."
            )
        owner |= {path: name for path in part.specs if path not in base}


def _check_embeddings(names: list[str], parts: list[Method]) -> None:
    """Refuse a method that changes the tokens' embeddings after one that puts a prompt before them."""
    prompt = None
    for name, part in zip(names, parts, strict=True):
        if part.hooks.embed is None:
            continue
        if prompt is not None:
            raise LoraJaxError(
                f"Combined: {prompt} puts embeddings before the tokens', which {name} then changes: put"
                f" {name} first."
            )
        if part.hooks.n_before:
            prompt = name


METHODS = (Combined,)
