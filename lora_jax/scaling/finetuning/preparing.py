"""A table of fine-tuning runs made ready: which columns are X and F, what varies, and what is refused."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.laws.finetuning import FACTORS, LAWS
from lora_jax.scaling.tables.cells import levels
from lora_jax.scaling.tables.columns import BITS, PRETRAINING, VARIABLES
from lora_jax.scaling.tables.run_table import RunTable

Factor = Literal["N", "D", "P"]
EXAMPLES = "n_train"  # in place of the tokens of the fine-tuning set
SHOWN = 3


@dataclass(frozen=True)
class Prepared:
    """A table of the runs of one task.

    Attributes:
        table: The runs.
        x: The letter of X.
        variables: Those of X and F that vary. A law can be in these.
        letters: What tells the cells of a method apart.
        task: The task, if the table says it.
        notes: What was done to the table, and what it does not contain.
        doubts: What is wrong with the table.
    """

    table: RunTable
    x: Factor
    variables: tuple[str, ...]
    letters: tuple[str, ...]
    task: str | None
    notes: tuple[str, ...]
    doubts: tuple[str, ...]


def factor_of(law: str) -> Factor:
    """Return the letter of X in a law of fine-tuning, such as "N" in "finetuning-n".

    Raises:
        LoraJaxError: It is no law of fine-tuning.
    """
    if law not in LAWS:
        raise LoraJaxError(f"{law} is no law of fine-tuning by method: take one of {', '.join(LAWS)}.")
    return next(x for x in ("N", "D", "P") if law == f"finetuning-{x.lower()}")


def prepare(table: RunTable, law: str) -> Prepared:
    """Make a table of fine-tuning runs ready for a law.

    Raises:
        LoraJaxError: It holds several tasks or tokenizers, or D would be the tokens of the fine-tuning.
    """
    x = factor_of(law)
    task = _one_task(table)
    _refuse_tokenizers(table)
    if x == "D":
        _check_pretraining(table)
    notes: list[str] = []
    if "finetune_tokens" not in table.columns and EXAMPLES in table.columns:
        table = replace(table, columns={**table.columns, "finetune_tokens": table[EXAMPLES]})
        notes.append(f"F is {EXAMPLES}, the examples of the fine-tuning set: the table has no tokens of it.")
    variables = [v for v in (x, "F") if _varies(table, v, x, notes)]
    letters = [v for v in ("N", "D", "P", "F") if table.has(v) and (v != "D" or PRETRAINING in table.columns)]
    if x not in letters and table.has(x):
        letters.insert(0, x)
    letters.sort(key=lambda v: v != x)  # X first
    return Prepared(table, x, tuple(variables), tuple(letters), task, tuple(notes), _mixes(table, x))


def _varies(table: RunTable, letter: str, x: str, notes: list[str]) -> bool:
    """Return whether a law can be in a variable, and note why it cannot."""
    what = "the size of the fine-tuning set" if letter == "F" else FACTORS[letter]
    if not table.has(letter):
        ours = table.column_of(letter) if letter != "D" else PRETRAINING
        notes.append(
            f"There is no law in {letter}: the table does not say {what}. If a column does, name it, as"
            f" --map {ours}=COLUMN."
        )
        return False
    values = table.variable(letter)
    if levels(values).max() > 0:
        return True
    goes_on = ". What else the runs say is below." if letter == "F" else ": laws are in F alone."
    notes.append(f"There is no law in {letter}: all runs have {letter} = {values[0]:.4g}{goes_on}")
    return False


def _one_task(table: RunTable) -> str | None:
    tasks = _texts(table, "task")
    if len(tasks) > 1:
        raise LoraJaxError(
            f"{table.source} has runs of {len(tasks)} tasks ({_list(tasks)}), whose losses are not of one"
            f" thing: choose one, as --where task={tasks[0]}."
        )
    return tasks[0] if tasks else None


def _refuse_tokenizers(table: RunTable) -> None:
    """Refuse losses per token of several tokenizers."""
    for column in (c for c in (*table.labels, *table.columns) if "tokenizer" in c.lower()):
        found = _texts(table, column)
        if len(found) > 1 and table.loss_unit != BITS:
            raise LoraJaxError(
                f"{table.source} has runs of {len(found)} tokenizers ({_list(found)}), whose losses per token"
                f" cannot be compared: choose one, as --where {column}={found[0]}, or read bits per byte, by"
                " --loss-unit bpb."
            )


def _texts(table: RunTable, column: str) -> list[str]:
    if column in table.labels:
        return [text for text in dict.fromkeys(table.labels[column]) if text]
    return [f"{x:g}" for x in dict.fromkeys(table.columns.get(column, np.empty(0)).tolist())]


def _list(texts: Sequence[str]) -> str:
    return "; ".join(texts[:SHOWN]) + (" and more" if len(texts) > SHOWN else "")


def _check_pretraining(table: RunTable) -> None:
    """Refuse to take the tokens of the fine-tuning for those of the pretraining."""
    tokens = VARIABLES["D"]
    if PRETRAINING in table.columns or tokens not in table.columns:
        return
    told = table.sources.get(tokens, tokens)
    if tokens not in table.formulas and told != tokens:
        return  # a column that somebody named
    raise LoraJaxError(
        f"{table.source} has no {PRETRAINING}, and its {tokens} may be the tokens of the fine-tuning: name"
        f" the column of the base's tokens, as --map {PRETRAINING}=COLUMN."
    )


def _mixes(table: RunTable, x: str) -> tuple[str, ...]:
    """Return a doubt where the bases of one N were pretrained on different D, and the law knows only one."""
    if x == "P" or not (table.has("N") and PRETRAINING in table.columns):
        return ()
    other = "D" if x == "N" else "N"
    level = levels(table.variable(x))
    mixed = [k for k in range(level.max() + 1) if levels(table.variable(other)[level == k]).max() > 0]
    if not mixed:
        return ()
    return (f"{other} differs between bases of one {x}: the law in {x} does not know it",)
