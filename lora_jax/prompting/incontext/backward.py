"""What a gradient costs beside a forward pass: time, measured in turns, and memory as XLA reports it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from lora_jax.comparison.gradient_results import GradientCost, ProgramMemory, Ratio
from lora_jax.comparison.uncertainty import crossed_mean
from lora_jax.config import ModelConfig
from lora_jax.data.tasks import Batch
from lora_jax.finetuning.step import mean_loss
from lora_jax.model.hooks import NO_HOOKS
from lora_jax.params import Params, combine
from lora_jax.peft.method import Adapted, MethodConfig, adapt
from lora_jax.timing import Say, divide, interleave

FORWARD = "forward"


@dataclass(frozen=True)
class Programs:
    """The two compiled programs of one method: the loss of a batch, and its gradient.

    Attributes:
        forward: jax.stages.Compiled of (trainable, frozen, batch), which returns the loss.
        gradient: The same for the loss and its gradient with respect to the weights that train.
        adapted: The weights.
    """

    forward: Any
    gradient: Any
    adapted: Adapted

    def act(self, which: str, batch: Batch) -> Callable[[], object]:
        """Return a function that runs a program, "forward" or "gradient", and waits for the result."""
        program = getattr(self, which)
        return lambda: jax.block_until_ready(program(*self.adapted, batch))


def measure_backward(
    model: ModelConfig,
    base: Params,
    methods: dict[str, MethodConfig],
    batch_size: int,
    seq_len: int,
    repeats: int,
    say: Say,
) -> tuple[GradientCost, ...]:
    """Time loss and gradient of every method on one batch of random tokens, in turns.

    Args:
        model: The shape of the base.
        base: The weights of the base.
        methods: The methods by label.
        batch_size: Sequences in the batch.
        seq_len: Tokens in a sequence.
        repeats: Number of rounds.
        say: Called with a line about what is done.
    """
    batch = draw_batch(model, batch_size, seq_len)
    programs = {}
    for label, config in {FORWARD: None, **methods}.items():
        say(f"backward: compiling {label}")
        programs[label] = compile_both(model, base, config, batch)
    actions = {FORWARD: programs[FORWARD].act("forward", batch)}
    for label in methods:
        actions |= {
            f"{label} {which}": programs[label].act(which, batch) for which in ("forward", "gradient")
        }
    say(f"backward: {len(actions)} programs in turns, {repeats} rounds")
    seconds = interleave(actions, repeats)
    return tuple(_describe(label, programs[label], seconds) for label in methods)


def draw_batch(model: ModelConfig, batch_size: int, seq_len: int) -> Batch:
    """Return full rows of random tokens. The loss is on every next token, or for a classifier on label 0."""
    shape = (batch_size, seq_len)
    tokens_BU = np.random.default_rng(0).integers(1, model.vocab_size, (batch_size, seq_len + 1), np.int32)
    return Batch(
        tokens_BT=tokens_BU[:, :-1],
        segments_BT=np.ones(shape, np.int32),
        positions_BT=np.broadcast_to(np.arange(seq_len, dtype=np.int32), shape),
        types_BT=np.zeros(shape, np.int32),
        targets_BT=tokens_BU[:, 1:],
        weights_BT=np.ones(shape, np.float32),
        labels_B=np.zeros(batch_size, np.int32),
        example_weights_B=np.ones(batch_size, np.float32),
    )


def compile_both(model: ModelConfig, base: Params, config: MethodConfig | None, batch: Batch) -> Programs:
    """Compile a method's loss and gradient for one batch.

    If `config` is None, the loss of the base stands for the gradient too.
    """
    if config is None:
        adapted, hooks = Adapted({}, base), NO_HOOKS
    else:
        method = config.build(model)
        adapted, hooks = adapt(base, method, seed=0), method.hooks
    key = jax.random.key(0)

    def loss(trainable: Params, frozen: Params, batch: Batch) -> jax.Array:
        return mean_loss(model, combine(trainable, frozen), batch, hooks, key)

    forward = jax.jit(loss).lower(*adapted, batch).compile()
    if config is None:
        return Programs(forward, forward, adapted)
    return Programs(forward, jax.jit(jax.value_and_grad(loss)).lower(*adapted, batch).compile(), adapted)


def read_memory(compiled: Any) -> ProgramMemory | None:
    """Return XLA's bytes of a program. None if its backend does not report them."""
    found = compiled.memory_analysis()
    if found is None:
        return None
    return ProgramMemory(
        temporary=int(found.temp_size_in_bytes),
        arguments=int(found.argument_size_in_bytes),
        outputs=int(found.output_size_in_bytes),
    )


def _describe(label: str, programs: Programs, seconds: dict[str, list[float]]) -> GradientCost:
    forward, gradient = (seconds[f"{label} {which}"] for which in ("forward", "gradient"))
    before, after = read_memory(programs.forward), read_memory(programs.gradient)
    memory_ratio = whole_ratio = None
    if before is not None and after is not None:
        memory_ratio = after.temporary / before.temporary
        whole_ratio = after.total / before.total
    return GradientCost(
        label=label,
        n_trainable=sum(w.size for w in programs.adapted.trainable.values()),
        forward_seconds=tuple(forward),
        gradient_seconds=tuple(gradient),
        time_ratio=_mean_ratio(divide(gradient, forward)),
        vs_base=_mean_ratio(divide(gradient, seconds[FORWARD])),
        forward_bytes=before,
        gradient_bytes=after,
        memory_ratio=memory_ratio,
        whole_ratio=whole_ratio,
    )


def _mean_ratio(ratios: list[float]) -> Ratio:
    """Return the geometric mean over rounds, with Student's t interval of the logarithms."""
    found = crossed_mean(np.log([ratios]))
    low, high = np.exp(found.interval)
    return Ratio(float(np.exp(found.value)), (float(low), float(high)))
