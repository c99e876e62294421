"""The options by which a command reads anybody's table of runs."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lora_jax.errors import LoraJaxError

if TYPE_CHECKING:
    from lora_jax.scaling.tables.table import RunTable


def add_table_options(parser: argparse.ArgumentParser, optional: bool = False) -> None:
    """Add the table and the options that choose and name its columns and rows."""
    parser.add_argument(
        "table", type=Path, nargs="?" if optional else None,
        help="a results folder, a CSV, JSON-lines or Parquet file, or published:NAME",
    )  # fmt: skip
    options = parser.add_argument_group("the table")
    options.add_argument(
        "--map", nargs="+", default=[], metavar="OURS=THEIRS",
        help="columns by name, e.g. n_params='Model Size'",
    )  # fmt: skip
    options.add_argument(
        "--where", nargs="+", default=[], metavar="CONDITION",
        help="keep rows for which all hold: split=train 'D>=1e9' 'name~^rpj' 'size in 1,2'",
    )  # fmt: skip
    options.add_argument(
        "--drop-worst", type=int, default=0, metavar="K", help="leave out the K largest losses"
    )
    options.add_argument(
        "--loss-unit", default="nats per token", metavar="UNIT", help="nats (default) or bpb, bits per byte"
    )
    options.add_argument("--cluster", metavar="COLUMN", help="rows of one training run, for the bootstrap")
    options.add_argument(
        "--keep-uncooled", action="store_true", help="keep runs whose rate never came down beside others"
    )
    options.add_argument("--n-column", metavar="COLUMN", help="which column is N (default: n_params)")
    options.add_argument("--flops-column", metavar="COLUMN", help="which column is C (default: flops)")


def load_table(arguments: argparse.Namespace) -> "RunTable":
    """Read the table that `add_table_options` describes; raises LoraJaxError."""
    from lora_jax.scaling.tables.table import read_table

    renew_table(arguments.table)
    table = read_table(
        arguments.table, parse_pairs("--map", arguments.map), where=arguments.where,
        drop_worst=arguments.drop_worst, loss_unit=arguments.loss_unit, cluster=arguments.cluster,
        keep_uncooled=arguments.keep_uncooled,
    )  # fmt: skip
    if arguments.n_column is None and arguments.flops_column is None:
        return table
    return table.using(
        n_column=arguments.n_column or table.n_column,
        flops_column=arguments.flops_column or table.flops_column,
    )


def renew_table(folder: Path) -> None:
    """Write runs.csv anew where it is older than a record: the records are the source of truth."""
    times = [path.stat().st_mtime for path in folder.glob("runs/*.json")]
    table = folder / "runs.csv"
    if times and not (table.exists() and max(times) < table.stat().st_mtime):
        from lora_jax.runs.store import RunStore

        RunStore(folder).write_table()


def parse_pairs(option: str, texts: Sequence[str], example: str = "loss=final_loss") -> dict[str, str]:
    """Return {"a": "b"} of ["a=b"]."""
    wrong = [text for text in texts if "=" not in text]
    if wrong:
        raise LoraJaxError(f"{option} got {wrong[0]!r}, it wants NAME=VALUE, such as {example}.")
    return dict(text.split("=", 1) for text in texts)


def parse_numbers(option: str, texts: Sequence[str]) -> dict[str, float]:
    """Return {"a": 1.5} of ["a=1.5"]; also of one text "a=1.5,b=2"."""
    pairs = parse_pairs(option, [part for text in texts for part in text.split(",")], "N=7e10")
    return {name: parse_number(f"{option} {name}", value) for name, value in pairs.items()}


def parse_number(what: str, text: str) -> float:
    """Return the number that a text says, such as 7e10, 70B or 1.4T; raises LoraJaxError for none."""
    suffixes = {"k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
    size = suffixes.get(text[-1:], 1.0)
    try:
        return float(text[:-1] if text[-1:] in suffixes else text) * size
    except ValueError:
        raise LoraJaxError(f"{what} is {text!r}, it must be a number such as 7e10 or 70B: mend it.") from None


def command_line(arguments: Sequence[str]) -> str:
    """Return the command as a person would type it."""
    import shlex

    return shlex.join(["lora-jax", *arguments])
