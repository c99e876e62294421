"""lora-jax count: parameters and FLOPs of a shape by every convention."""

import argparse
import dataclasses
import json
from typing import Any, get_args

from lora_jax.commands.number_options import add_number
from lora_jax.commands.table_options import parse_pairs
from lora_jax.errors import LoraJaxError, nearest
from lora_jax.ranges import LENGTH, field_kinds, split_optional

YES, NO = ("true", "yes", "1"), ("false", "no", "0")


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "count",
        help="count the parameters and FLOPs of a model by every convention",
        description="Count the parameters N and the training FLOPs C of a model from its shape. Conventions"
        " differ, so this shows each of them.",
    )
    parser.add_argument(
        "shape",
        nargs="+",
        metavar="FIELD=VALUE",
        help="fields of the model, such as d_model=768 n_layers=12 n_heads=12 vocab_size=50257",
    )
    add_number(
        parser, "--seq-len", LENGTH, default=2048, metavar="T", help="tokens in a sequence (default: 2048)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    found = count_shape(parse_pairs("shape", arguments.shape), arguments.seq_len)
    if arguments.json:
        print(json.dumps(found, indent=1))
        return 0
    from lora_jax.report.kit.tables import Table, make_console, print_table

    rows = tuple((name, f"{value:,.0f}" if value > 100 else f"{value:.4f}") for name, value in found.items())
    print_table(Table("Counts of one shape", ("count", "value"), rows, frozenset({1})), make_console())
    return 0


def count_shape(fields: dict[str, str], seq_len: int) -> dict[str, float]:
    """Return N by every convention, FLOPs a token, and what each convention makes of 6ND and an exponent."""
    from lora_jax.scaling.tables.conventions import Embeddings, exponent_ratio, flops_ratio
    from lora_jax.scaling.tables.counting import Shape, count_parameters, flops_per_token

    known = {f.name: f for f in dataclasses.fields(Shape)}
    for name in fields:
        if name not in known:
            raise LoraJaxError(f"A shape has no {name!r}{nearest(name, known)}: use one of these.")
    missing = [name for name in ("d_model", "n_layers") if name not in fields]
    if missing:
        raise LoraJaxError(f"The shape has no {missing[0]}: give d_model=... n_layers=....")
    values: dict[str, Any] = {name: _parse(name, text, known[name].default) for name, text in fields.items()}
    shape = Shape(**values)
    found: dict[str, float] = dict(count_parameters(shape))
    if shape.vocab_size is not None:
        found["flops_per_token"] = flops_per_token(shape, seq_len)
        for name in [n for n in found if n.startswith("n_params")]:
            found[f"exact FLOPs / 6ND, N = {name}"] = flops_ratio(shape, seq_len, name)
        embeddings = Embeddings(shape.vocab_size, shape.context or 0, shape.d_model / shape.n_layers)
        ratio = exponent_ratio(found["n_params"], embeddings)
        found["d ln N_all / d ln N here"] = float(ratio)
    return found


def _parse(name: str, text: str, default: Any) -> Any:
    from lora_jax.scaling.tables.counting import Shape

    if name == "norm":
        if text not in ("layernorm", "rmsnorm"):
            raise LoraJaxError(f"norm is {text!r}, but it must be layernorm or rmsnorm: choose one.")
        return text
    if isinstance(default, bool):
        if text.lower() not in YES + NO:
            raise LoraJaxError(f"{name} is {text!r}, but it must be true or false: choose one.")
        return text.lower() in YES
    kind, _ = split_optional(field_kinds(Shape)[name])
    return get_args(kind)[1].read(name, text)
