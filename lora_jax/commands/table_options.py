"""The options by which a command reads anybody's table of runs."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_jax.commands.number_options import add_number
from lora_jax.errors import LoraJaxError
from lora_jax.ranges import ANY_NUMBER, COUNT_FROM_0, Range, cut, show
from lora_jax.table_lag import TABLE, find_folder, list_records

if TYPE_CHECKING:
    from lora_jax.scaling.tables.table import RunTable


def add_table_options(parser: argparse.ArgumentParser, optional: bool = False) -> None:
    """Add the table and the options that choose and name its columns and rows."""
    parser.add_argument(
        "table",
        type=Path,
        nargs="?" if optional else None,
        help="results folder, a CSV, JSON-lines or Parquet file, or published:NAME",
    )
    options = parser.add_argument_group("the table")
    options.add_argument(
        "--map",
        nargs="+",
        default=[],
        metavar="OURS=THEIRS",
        help="say which column is n_params, loss and so on, and convert its unit: n_params='size"
        " (M)*1e6' flops='10**log10_flops'",
    )
    options.add_argument(
        "--where",
        nargs="+",
        default=[],
        metavar="CONDITION",
        help="keep only the rows that meet every condition: split=train 'D>=1e9' 'name~^rpj' 'size in 1,2'",
    )
    add_number(
        options,
        "--drop-worst",
        COUNT_FROM_0,
        default=0,
        metavar="K",
        help="leave out the K rows with the largest losses (default: 0)",
    )
    options.add_argument(
        "--loss-unit",
        metavar="UNIT",
        help="unit of the loss: nats per token, or bpb for bits per byte (default: nats)",
    )
    options.add_argument(
        "--cluster",
        metavar="COLUMN",
        help="column that names the training run; the bootstrap draws the rows of one run together",
    )
    options.add_argument(
        "--keep-uncooled",
        action="store_true",
        help="keep runs whose learning rate was never decayed (default: leave them out if other runs"
        " were decayed)",
    )
    _add_reshaping(options)
    options.add_argument("--n-column", metavar="COLUMN", help="column to use as N (default: n_params)")
    options.add_argument("--flops-column", metavar="COLUMN", help="column to use as C (default: flops)")


def _add_reshaping(options: Any) -> None:
    """Add what makes one row a run, for tables with several rows, or several losses, of a run."""
    options.add_argument(
        "--last-step-per-run",
        action="store_true",
        help="keep only the last step of each training run. The column that --cluster names tells"
        " the runs apart, or else run_id, Name and the like",
    )
    options.add_argument(
        "--best-per-cell",
        action="store_true",
        help="of several rows with the same N and D (and unique tokens), keep the one with the"
        " lowest loss, as in a sweep of learning rates",
    )
    options.add_argument(
        "--wide",
        nargs="+",
        metavar=("VARIABLE=LOSS", "COLUMNS"),
        help="read a table with one loss column for each value of a variable: --wide"
        " finetune_tokens=loss if numbers name the columns, else with a pattern: --wide"
        " n_tokens=loss 'loss@*'",
    )


def load_table(arguments: argparse.Namespace, needs_loss: bool = True) -> "RunTable":
    """Read the table that `add_table_options` describes; raises LoraJaxError."""
    from lora_jax.scaling.tables.plausibility import question
    from lora_jax.scaling.tables.table import Reshaping, read_table
    from lora_jax.scaling.tables.wide import parse_wide

    renew_table(arguments.table)
    reshaping = Reshaping(
        None if arguments.wide is None else parse_wide(arguments.wide),
        arguments.last_step_per_run,
        arguments.best_per_cell,
        _apart(arguments),
    )
    table = read_table(
        arguments.table,
        parse_pairs("--map", arguments.map),
        where=arguments.where,
        drop_worst=arguments.drop_worst,
        loss_unit=arguments.loss_unit,
        cluster=arguments.cluster,
        keep_uncooled=arguments.keep_uncooled,
        needs_loss=needs_loss,
        reshaping=reshaping,
    )
    if arguments.n_column is None and arguments.flops_column is None:
        return table
    chosen = table.using(
        n_column=arguments.n_column or table.n_column,
        flops_column=arguments.flops_column or table.flops_column,
    )
    return question(chosen)


def _apart(arguments: argparse.Namespace) -> tuple[str, ...]:
    """Return what tells cells apart besides N and D: a variable of the law that is asked for."""
    from lora_jax.scaling.laws import LAWS
    from lora_jax.scaling.tables.batches import letters_apart

    asked = getattr(arguments, "law", None)  # not every command that reads a table has one
    law = next((law for name, law in LAWS.items() if asked in (name, law.key)), None)
    return () if law is None else letters_apart(law.variables)


def renew_table(path: Path) -> None:
    """Write runs.csv of a results folder anew where it does not say what its records say.

    path: The folder, or its runs.csv. Any other table is left as it is.

    Raises:
        LoraJaxError: A record is damaged, or the table is to be renewed and cannot be written.
    """
    folder = find_folder(path)
    if folder is not None and list_records(folder):
        from lora_jax.digests import doubting
        from lora_jax.runs.store import RunStore

        try:
            with doubting("restore it, or delete it to train that run again"):
                RunStore(folder).renew_table()
        except OSError as error:
            raise LoraJaxError(
                f"{folder / TABLE} does not agree with the records next to it, and it cannot be"
                f" rewritten ({error.strerror}): make the folder writable, or copy it and name the"
                " copy."
            ) from error


def parse_pairs(option: str, texts: Sequence[str], example: str = "loss=final_loss") -> dict[str, str]:
    """Return {"a": "b"} of ["a=b"]."""
    wrong = [text for text in texts if "=" not in text]
    if wrong:
        raise LoraJaxError(f"{option} got {wrong[0]!r}, it wants NAME=VALUE, such as {example}.")
    return dict(text.split("=", 1) for text in texts)


def parse_numbers(option: str, texts: Sequence[str], within: Range = ANY_NUMBER) -> dict[str, float]:
    """Return {"a": 1.5} of ["a=1.5"]; also of one text "a=1.5,b=2"."""
    pairs = parse_pairs(option, [part for text in texts for part in text.split(",")], "N=7e10")
    return {name: parse_number(f"{option} {name}", value, within) for name, value in pairs.items()}


def parse_printed(option: str, texts: Sequence[str]) -> tuple[dict[str, float], dict[str, float]]:
    """Return numbers as `parse_numbers` does, and half a unit in the last digit of each as it was typed."""
    from lora_jax.scaling.fitting.digits import half_unit

    numbers = parse_numbers(option, texts)
    typed = parse_pairs(option, [part for text in texts for part in text.split(",")])
    return numbers, {name: half_unit(text) for name, text in typed.items()}


def parse_number(what: str, text: str, within: Range = ANY_NUMBER) -> float:
    """Return the number that a text says, such as 7e10, 70B or 1.4T; raises LoraJaxError for another."""
    from lora_jax.scaling.tables.number_text import read_number

    number = read_number(text)
    if number is None:
        raise LoraJaxError(f"{what} is {show(text)}, but it must be a number such as 7e10 or 70B: mend it.")
    return within.check(what, number, cut(text))


def command_line(arguments: Sequence[str]) -> str:
    """Return the command as a person would type it."""
    import shlex

    return shlex.join(["lora-jax", *arguments])
