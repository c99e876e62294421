"""A table of what a parametrisation does to every weight of a model, for the terminal."""

from lora_jax.config import RunConfig
from lora_jax.layout import draw, fill
from lora_jax.model.declare import declare
from lora_jax.model.parametrisation import forward_multiplier
from lora_jax.training.optimizers import make_optimizer
from lora_jax.training.scales import scales_of
from lora_jax.training.schedules import peak_learning_rate
from lora_jax.weight_class import WeightClass, classify

COLUMNS = ("weight", "class", "fan-in", "fan-out", "start", "forward", "rate", "weight decay", "eps")


def format_parametrisation(run: RunConfig) -> str:
    """Return a table with the start, multiplier, rate, decay and eps of every weight."""
    model, optim = run.model, run.optim
    specs, optimizer = declare(model), make_optimizer(optim)
    scales, peak = scales_of(specs, optim, model=model), peak_learning_rate(run)
    eps = getattr(optimizer, "eps", None)
    rows = []
    for path, spec in specs.items():
        scale = scales[path]
        own_eps = eps * scale.eps if eps is not None and optimizer.rule_of(spec) == "AdamW" else None
        rows.append(
            (
                path,
                classify(spec).value,
                str(spec.fan_in) if spec.contract else "",
                str(spec.fan_out) if classify(spec) is not WeightClass.VECTOR else "",
                f"{spec.mean:g}" if spec.std == 0 else f"{spec.std:.4g}",
                f"{forward_multiplier(model, path, spec):.4g}" if spec.contract else "",
                f"{peak * scale.rate:.4g}",
                f"{optim.weight_decay * scale.decay:.4g}",
                "" if own_eps is None else f"{own_eps:.2g}",
            )
        )
    title = f"Parametrisation {model.parametrisation} of d{model.d_model}x{model.n_layers}, {optimizer.kind}."
    words = (
        "A start is a standard deviation, or the value where every number starts the same. What a weight's"
        " product gives is multiplied by the number under forward. The rate is the peak, and the decay is"
        " multiplied by the rate."
    )
    table = draw(COLUMNS, rows, set(range(2, len(COLUMNS))))
    return "\n".join([title, "", *table, "", fill(words)])
