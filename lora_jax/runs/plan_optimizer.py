"""A table of which weights of a run get which rule, rate and decay, by class of weights."""

from collections import defaultdict
from collections.abc import Sequence

from lora_jax.config import RunConfig, to_dict
from lora_jax.layout import draw
from lora_jax.model.declare import declare
from lora_jax.params import Spec
from lora_jax.training.optimizers import make_optimizer
from lora_jax.training.scales import scales_of
from lora_jax.weight_class import classify

COLUMNS = ("class", "rule", "weights", "numbers", "rate x", "decay x", "clipped to")


def format_optimizers(runs: Sequence[RunConfig]) -> list[str]:
    """Return the lines of a table for each optimizer of a plan. AdamW without classes has none.

    The numbers are those of the smallest model that the optimizer trains.
    """
    lines: list[str] = []
    seen: list[object] = []
    for run in runs:
        if (run.optim.optimizer, run.optim.classes) == (None, None):
            continue
        chosen = make_optimizer(run.optim), run.optim.classes  # its beta2 may follow the batch
        if chosen not in seen:
            seen.append(chosen)
            lines += ["", *_format(run)]
    return lines


def _format(run: RunConfig) -> list[str]:
    optimizer, specs = make_optimizer(run.optim), declare(run.model)
    scales = scales_of(specs, run.optim, model=run.model)
    rows: dict[tuple[str, ...], list[Spec]] = defaultdict(list)
    for path, spec in specs.items():
        scale = scales[path]
        clipped = "all together" if scale.clip is None else f"{scale.clip.norm:g} by itself"
        row = str(classify(spec)), optimizer.rule_of(spec), f"{scale.rate:g}", f"{scale.decay:g}", clipped
        rows[row].append(spec)
    table = draw(
        COLUMNS,
        [
            (kind, rule, str(len(found)), f"{sum(spec.size for spec in found):,}", rate, decay, clipped)
            for (kind, rule, rate, decay, clipped), found in sorted(rows.items())
        ],
        {2, 3, 4, 5},
    )
    numbers = ", ".join(f"{name} {value}" for name, value in to_dict(optimizer).items() if name != "kind")
    size = f"d{run.model.d_model}x{run.model.n_layers}"
    flops = sum(optimizer.flops(spec) for spec in specs.values())
    said = f"; its matrix products take {flops:.2e} FLOPs a step" if flops else ""
    return [f"Optimizer {optimizer.kind} ({numbers}) at {size}{said}:", *table]
