"""lora-jax sizes: how large language models are by their shapes, what they cost, what a law gives them."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from lora_jax.errors import LoraJaxError

if TYPE_CHECKING:
    from lora_jax.model.presets import Preset
    from lora_jax.scaling.intervals.uncertainty import Bootstrap

TABLE, DROPPED, REPLICATES = "published:chinchilla", 5, 400
BYTES_SERVED = 2  # of a weight, a key or a value in bfloat16
CONVENTIONS = {
    "n_params": "every weight of the model once, counted from its shape",
    "flops_6nd": "6 N D, N all parameters",
    "flops_exact": "every matmul, head and all attention scores, the backward at twice the forward, times D",
    "train_bytes": "16 a parameter: float32 weight 4, gradient 4, Adam's two moments 8 (mixed precision comes"
    " to the same); without activations",
    "serve_bytes": "2 a parameter and 2 a key or value of one sequence of seq_len tokens (bfloat16)",
}


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "sizes",
        help="the sizes of published language models: parameters, tokens, FLOPs, memory, loss",
        description="Each model is counted from its shape, nothing is allocated. The loss is that of"
        " Chinchilla's law, fitted to Chinchilla's runs when the command runs.",
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help="such as gpt2-xl llama2 (default: all)")
    parser.add_argument(
        "--seq-len", type=int, metavar="T", help="tokens a sequence (default: each model's own context)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    found = measure_sizes(arguments.models, arguments.seq_len)
    if arguments.json:
        print(json.dumps(found, indent=1, allow_nan=False))
        return 0
    from lora_jax.report.size_rows import cost_rows, remarks, size_rows
    from lora_jax.report.tables import make_console, print_table

    console = make_console()
    print_table(size_rows(found), console)
    print_table(cost_rows(found), console)
    if found["law"]["unavailable"] is not None:
        reason = f"warning: no loss, because {found['law']['unavailable']}"
        console.print(reason, style="yellow", markup=False, highlight=False)
    for line in remarks(found):
        console.print(f"note: {line}", style="dim", markup=False, highlight=False)
    return 0


def measure_sizes(names: list[str], seq_len: int | None) -> dict[str, Any]:
    """Return what --json prints: {"models": [...], "law": ..., "conventions": ...}; names: [] for all.

    Raises:
        LoraJaxError: an unknown model, or a sequence that a model's context does not hold.
    """
    from lora_jax.model.presets import PRESETS, find_preset

    presets = [find_preset(name) for name in dict.fromkeys(names or PRESETS)]
    for preset in presets:
        check_length(preset, seq_len)
    law, replicates = fit_law()
    models = [measure_preset(preset, seq_len, replicates) for preset in presets]
    return {"models": models, "law": law, "conventions": CONVENTIONS}


def check_length(preset: "Preset", seq_len: int | None) -> None:
    if seq_len is None:
        return
    if seq_len < 1:
        raise LoraJaxError(f"--seq-len is {seq_len}, it must be at least 1: raise it.")
    if preset.config is not None and seq_len > preset.config.context:
        raise LoraJaxError(
            f"--seq-len is {seq_len} and {preset.title} has a context of {preset.config.context}: lower it,"
            " or name the models whose context holds it."
        )


def fit_law() -> "tuple[dict[str, Any], Bootstrap | None]":
    """Fit Chinchilla's law to Chinchilla's runs; return what was fitted to what, and its replicates.

    Where the runs are not to be had, as without a network, there are none, and "unavailable" says why.
    """
    from lora_jax.scaling.fitting.fit import fit
    from lora_jax.scaling.intervals.uncertainty import bootstrap
    from lora_jax.scaling.laws import CHINCHILLA
    from lora_jax.scaling.tables.table import read_table

    law: dict[str, Any] = {
        "formula": CHINCHILLA.formula, "reference": CHINCHILLA.reference, "table": TABLE,
        "command": f"lora-jax fit {TABLE} --law chinchilla --drop-worst {DROPPED} --bootstrap {REPLICATES}",
        "corpus": "Chinchilla's corpus and tokenizer: of other texts and tokens the loss is another",
        "n_runs": None, "params": None, "verdict": None, "unavailable": None,
    }  # fmt: skip
    try:
        table = read_table(TABLE, drop_worst=DROPPED)
    except LoraJaxError as problem:
        return law | {"unavailable": str(problem)}, None
    found = fit(CHINCHILLA, table)
    replicates = bootstrap(found, REPLICATES)
    law |= {
        "n_runs": len(table), "params": replicates.intervals(), "verdict": found.certificate.verdict
    }  # fmt: skip
    return law, replicates


def measure_preset(preset: "Preset", seq_len: int | None, replicates: "Bootstrap | None") -> dict[str, Any]:
    """Return one model's row; what cannot be computed, since it is not published or not of a law, is null."""
    from lora_jax.model.declare import count_parameters, flops_per_token
    from lora_jax.runs.memory import BYTES_TRAINED

    row: dict[str, Any] = {
        "model": preset.title, "creators": preset.creators, "year": preset.year,
        "n_tokens": preset.n_tokens, "announced_params": preset.announced,
        "published_params": preset.n_params,
        **dict.fromkeys((
            "n_params", "difference", "tokens_per_param", "seq_len", "flops_6nd", "flops_exact",
            "train_bytes", "weights_bytes", "cache_bytes", "serve_bytes", "loss",
        )),
        "source": preset.source, "notes": list(preset.notes),
    }  # fmt: skip
    config = preset.config
    if config is None or preset.n_params is None or preset.n_tokens is None:
        return row
    n_params, length = count_parameters(config).total, seq_len or config.context
    per_token = 2 * config.n_layers * config.kv_heads * config.head_dim  # a key and a value in each layer
    cache_bytes = BYTES_SERVED * per_token * length if config.causal else 0
    row |= {
        "n_params": n_params, "difference": n_params / preset.n_params - 1,
        "tokens_per_param": preset.n_tokens / n_params, "seq_len": length,
        "flops_6nd": 6 * n_params * preset.n_tokens,
        "flops_exact": flops_per_token(config, length) * preset.n_tokens,
        "train_bytes": BYTES_TRAINED * n_params, "weights_bytes": BYTES_SERVED * n_params,
        "cache_bytes": cache_bytes, "serve_bytes": BYTES_SERVED * n_params + cache_bytes,
    }  # fmt: skip
    if replicates is not None and config.has_lm_head:
        from lora_jax.scaling.prediction.forecasts import predict_loss

        mean = predict_loss(replicates, {"N": float(n_params), "D": float(preset.n_tokens)})[0]
        row["loss"] = {name: mean[name] for name in ("value", "se", "ci95", "unit", "beyond")}
    return row
