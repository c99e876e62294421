"""lora-jax sizes: how large language models are by their shapes, what they cost, what a law gives them."""

import argparse
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lora_jax.commands.number_options import add_number
from lora_jax.documents import to_document
from lora_jax.errors import LoraJaxError
from lora_jax.ranges import LENGTH
from lora_jax.report.sizes.results import (
    Conventions,
    Counted,
    LossOfSize,
    ModelSize,
    SizesLaw,
    SizesReport,
)

if TYPE_CHECKING:
    from lora_jax.model.presets import Preset
    from lora_jax.scaling.intervals.uncertainty import Bootstrap

TABLE, DROPPED, REPLICATES = "published:chinchilla", 5, 400
BYTES_SERVED = 2  # of a weight, a key or a value in bfloat16
CONVENTIONS = Conventions(
    n_params="every weight of the model once, counted from its shape",
    flops_6nd="6 N D, N all parameters",
    flops_exact="every matmul, head and all attention scores, the backward at twice the forward, times D",
    train_bytes="16 a parameter: float32 weight 4, gradient 4, Adam's two moments 8 (mixed precision comes"
    " to the same); without activations",
    serve_bytes="2 a parameter and 2 a key or value of one sequence of seq_len tokens (bfloat16)",
)


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "sizes",
        help="list published language models: parameters, tokens, FLOPs, memory, loss",
        description="Compute the size of each model from its shape; no weights are allocated. The loss is"
        " predicted by Chinchilla's law, which the command first fits to Chinchilla's runs.",
    )
    parser.add_argument(
        "models", nargs="*", metavar="MODEL", help="models to list, such as gpt2-xl llama2 (default: all)"
    )
    add_number(
        parser,
        "--seq-len",
        LENGTH,
        metavar="T",
        help="tokens in a sequence (default: each model's own context)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    found = measure_sizes(arguments.models, arguments.seq_len)
    if arguments.json:
        print(json.dumps(to_document(found), indent=1, allow_nan=False))
        return 0
    from lora_jax.report.kit.tables import make_console, print_table
    from lora_jax.report.sizes.rows import cost_rows, remarks, size_rows

    console = make_console()
    print_table(size_rows(found), console)
    print_table(cost_rows(found), console)
    if found.law.unavailable is not None:
        reason = f"warning: no loss, because {found.law.unavailable}"
        console.print(reason, style="yellow", markup=False, highlight=False)
    for line in remarks(found):
        console.print(f"note: {line}", style="dim", markup=False, highlight=False)
    return 0


def measure_sizes(names: list[str], seq_len: int | None) -> SizesReport:
    """Return the models, the law of their losses, and how they are counted; names: [] for all.

    Raises:
        LoraJaxError: an unknown model, or a sequence that a model's context does not hold.
    """
    from lora_jax.model.presets import PRESETS, find_preset

    presets = [find_preset(name) for name in dict.fromkeys(names or PRESETS)]
    for preset in presets:
        check_length(preset, seq_len)
    law, replicates = fit_law()
    models = tuple(measure_preset(preset, seq_len, replicates) for preset in presets)
    return SizesReport(models, law, CONVENTIONS)


def check_length(preset: "Preset", seq_len: int | None) -> None:
    if seq_len is None:
        return
    if preset.config is not None and seq_len > preset.config.context:
        raise LoraJaxError(
            f"--seq-len is {seq_len} and {preset.title} has a context of {preset.config.context}: lower it,"
            " or name the models whose context holds it."
        )


def fit_law() -> "tuple[SizesLaw, Bootstrap | None]":
    """Fit Chinchilla's law to Chinchilla's runs; return what was fitted to what, and its replicates.

    Where the runs are not to be had, as without a network, there are none, and `unavailable` says why.
    """
    from lora_jax.scaling.appraisal import appraise
    from lora_jax.scaling.fitting.fit import fit
    from lora_jax.scaling.laws import CHINCHILLA
    from lora_jax.scaling.tables.table import read_table

    law = SizesLaw(
        formula=CHINCHILLA.formula,
        reference=CHINCHILLA.reference,
        table=TABLE,
        command=f"lora-jax fit {TABLE} --law chinchilla --drop-worst {DROPPED} --bootstrap {REPLICATES}",
        corpus="Chinchilla's corpus and tokenizer: of other texts and tokens the loss is another",
        n_runs=None,
        params=None,
        verdict=None,
        unavailable=None,
    )
    try:
        table = read_table(TABLE, drop_worst=DROPPED)
    except LoraJaxError as problem:
        return replace(law, unavailable=str(problem)), None
    said = appraise(fit(CHINCHILLA, table), n_bootstrap=REPLICATES)
    params = said.replicates.intervals()
    return replace(law, n_runs=len(table), params=params, verdict=said.verdict.words), said.replicates


def measure_preset(preset: "Preset", seq_len: int | None, replicates: "Bootstrap | None") -> ModelSize:
    """Return one model's row; what cannot be computed, since it is not published or not of a law, is None."""
    counted = count_preset(preset, seq_len)
    loss = None
    if counted is not None and preset.config is not None and preset.config.has_lm_head:
        loss = predict_size(counted.n_params, preset.n_tokens, replicates)
    return ModelSize(
        model=preset.title,
        creators=preset.creators,
        year=preset.year,
        n_tokens=preset.n_tokens,
        announced_params=preset.announced,
        published_params=preset.n_params,
        counted=counted,
        loss=loss,
        source=preset.source,
        notes=preset.notes,
    )


def count_preset(preset: "Preset", seq_len: int | None) -> Counted | None:
    """Return what a model's shape and tokens cost; None where one of them is not published."""
    from lora_jax.model.declare import count_parameters, flops_per_token
    from lora_jax.training.cpu_memory import BYTES_TRAINED

    config = preset.config
    if config is None or preset.n_params is None or preset.n_tokens is None:
        return None
    n_params, length = count_parameters(config).total, seq_len or config.context
    per_token = 2 * config.n_layers * config.kv_heads * config.head_dim  # a key and a value in each layer
    cache_bytes = BYTES_SERVED * per_token * length if config.causal else 0
    return Counted(
        n_params=n_params,
        difference=n_params / preset.n_params - 1,
        tokens_per_param=preset.n_tokens / n_params,
        seq_len=length,
        flops_6nd=6 * n_params * preset.n_tokens,
        flops_exact=flops_per_token(config, length) * preset.n_tokens,
        train_bytes=BYTES_TRAINED * n_params,
        weights_bytes=BYTES_SERVED * n_params,
        cache_bytes=cache_bytes,
        serve_bytes=BYTES_SERVED * n_params + cache_bytes,
    )


def predict_size(n_params: int, n_tokens: int | None, replicates: "Bootstrap | None") -> LossOfSize | None:
    """Return the loss of the law with these replicates; None without one."""
    if replicates is None or n_tokens is None:
        return None
    from lora_jax.scaling.prediction.forecasts import predict_loss

    found = predict_loss(replicates, {"N": float(n_params), "D": float(n_tokens)})[0]
    return LossOfSize(found.value, found.se, found.ci95, unit=found.unit, beyond=found.beyond)
