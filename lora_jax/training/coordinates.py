"""The measurements of a coordinate check: how large the numbers inside a model are while it trains.

The check is that of Yang et al. 2022 (arXiv 2203.03466, appendix D.1). Train models of several widths for a
few steps. See whether activations, and how far they move, depend on the width. We measure weights as well,
late in training, because a wrong weight decay passes the check of activations (arXiv 2510.19093).
"""

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lora_jax.config import ModelConfig, RunConfig
from lora_jax.data import Dataset
from lora_jax.model.attention import attend
from lora_jax.model.cache import unstack
from lora_jax.model.declare import declare
from lora_jax.model.hooks import Pass
from lora_jax.model.relative import find_key_positions, relate, score_buckets
from lora_jax.model.transformer import Inputs, apply_block, embed, finish, read_head
from lora_jax.params import Params, Spec
from lora_jax.training.lanes import compile_step
from lora_jax.training.optimizers.muon import as_matrices
from lora_jax.training.optimizers.optimizer import make_hyperparams
from lora_jax.training.pretraining import init_pretraining, make_pretraining_step
from lora_jax.training.schedules import peak_learning_rate
from lora_jax.training.step import StepInput
from lora_jax.weight_class import WeightClass, classify

N_WINDOWS = 8  # windows of text whose activations are measured, the same at every step


class SiteSize(NamedTuple):
    """The size of the activations of one kind of site.

    Attributes:
        site: "embedding", "attention logits", "block outputs" or "logits".
        size: Mean absolute value, over positions, channels and layers.
        change: Mean absolute difference from the activations of step 0.
    """

    site: str
    size: float
    change: float


@dataclass(frozen=True)
class Moments:
    """The steps at which a model is measured.

    Attributes:
        steps: The steps after which its activations are measured, in addition to step 0.
        late: The step after which its weights are measured.
    """

    steps: tuple[int, ...]
    late: int

    @property
    def last(self) -> int:
        """The last of these steps."""
        return max(*self.steps, self.late)


@dataclass(frozen=True)
class Snapshot:
    """The measurements of a model after some steps.

    Attributes:
        step: Steps taken.
        sites: Sizes of the activations. Empty if only the weights are measured at this step.
        matrix_growth: Mean of ln(spectral norm / spectral norm at step 0) over the matrices. None if the
            weights are not measured at this step.
    """

    step: int
    sites: tuple[SiteSize, ...]
    matrix_growth: float | None = None


def watch_coordinates(run: RunConfig, dataset: Dataset, moments: Moments) -> list[Snapshot]:
    """Train a model at its peak rate, without warmup or decay of the rate, and measure it now and then.

    Args:
        run: The run. Its number of tokens does not matter.
        dataset: Its text.
        moments: When it is measured.

    Returns:
        The snapshots, in the order of steps. They end early if the loss is not finite.
    """
    specs, rate = declare(run.model), peak_learning_rate(run)
    state = init_pretraining(run.model, run.optim, run.seed)
    step = compile_step(make_pretraining_step(run.model, run.optim), side_by_side=False)
    tokens_BT = jnp.asarray(dataset.heldout_WT[:N_WINDOWS, :-1])
    probe = _compile_probe(run.model)
    first, norms = probe(state.trainable, tokens_BT), _matrix_norms(specs, state.trainable)
    found = [Snapshot(0, _compare(first, first))]
    for number in range(1, moments.last + 1):
        batch = dataset.batch(number - 1, run.optim.batch_size, run.seed)
        state, measured = step(state, {}, {}, StepInput(batch, make_hyperparams(run.optim, rate)))
        if number not in (*moments.steps, moments.late):
            continue
        if not np.isfinite(float(measured.loss)):
            break
        sites, growth = (), None
        if number in moments.steps:
            sites = _compare(probe(state.trainable, tokens_BT), first)
        if number == moments.late:
            growth = float(np.log(_matrix_norms(specs, state.trainable) / norms).mean())
        found.append(Snapshot(number, sites, growth))
    return found


def _compare(now: dict[str, jax.Array], first: dict[str, jax.Array]) -> tuple[SiteSize, ...]:
    return tuple(
        SiteSize(site, float(jnp.abs(x).mean()), float(jnp.abs(x - first[site]).mean()))
        for site, x in now.items()
    )


@lru_cache(maxsize=2)
def _compile_probe(model: ModelConfig):
    return jax.jit(partial(probe_sites, model))


def probe_sites(model: ModelConfig, params: Params, tokens_BT: jax.Array) -> dict[str, jax.Array]:
    """Return the activations of a model by kind of site. Those of all layers are stacked along a first axis.

    Attention logits of positions that may not be seen are 0.
    """
    this, logits, outputs = Pass(model), [], []
    T = tokens_BT.shape[1]
    x_BTD, layout = embed(this, params, Inputs(tokens_BT))
    k_positions = find_key_positions(layout.positions, T)
    if model.positions == "t5":
        bias_BHTS = score_buckets(model, params["relative_bias"], layout.positions, k_positions)
        layout = layout._replace(bias_BHTS=bias_BHTS)
    embedded = x_BTD

    def attend_to(block: Params, q_BTHK: jax.Array, k_BTJK: jax.Array, v_BTJK: jax.Array) -> jax.Array:
        bias_BHTS = layout.bias_BHTS
        if model.positions == "transformer_xl":
            q_BTHK, bias_BHTS = relate(model, block, q_BTHK, layout.positions, k_positions)
        k_BTHK = jnp.repeat(k_BTJK, model.n_heads // model.kv_heads, axis=2)
        scores_BHTS = jnp.einsum("bthk,bshk->bhts", q_BTHK, k_BTHK) * model.head_dim**-0.5
        scores_BHTS = scores_BHTS if bias_BHTS is None else scores_BHTS + bias_BHTS
        logits.append(jnp.tril(scores_BHTS) if model.causal else scores_BHTS)
        return attend(q_BTHK, k_BTJK, v_BTJK, causal=model.causal, bias_BHTS=bias_BHTS)

    weights = unstack(params, model.n_layers)
    for block in weights.blocks:
        x_BTD = apply_block(this, block, x_BTD, layout, attend_to)
        outputs.append(x_BTD)
    return {
        "embedding": embedded,
        "attention logits": jnp.stack(logits),
        "block outputs": jnp.stack(outputs),
        "logits": read_head(model, params, finish(model, params, x_BTD)),
    }


def _matrix_norms(specs: dict[str, Spec], params: Params) -> np.ndarray:
    """Return the spectral norm of every matrix of every layer."""
    norms: list[np.ndarray] = []
    for path, spec in specs.items():
        if classify(spec) is WeightClass.MATRIX:
            w_YIO = np.asarray(as_matrices(spec, params[path])[0])
            w_YIO = w_YIO if spec.fan_in <= spec.fan_out else w_YIO.swapaxes(1, 2)
            # We take eigenvalues on the smaller side, in a tenth of the time that singular values take.
            norms.append(np.sqrt(np.linalg.eigvalsh(w_YIO @ w_YIO.swapaxes(1, 2))[:, -1]))
    return np.concatenate(norms)
