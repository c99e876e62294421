"""Rows of instruction, input and output, in the prompt of Alpaca-LoRA (github.com/tloen/alpaca-lora)."""

from collections.abc import Mapping

from lora_jax.data.tasks.cells import Record, as_text, fields_of
from lora_jax.data.tasks.task import Row
from lora_jax.errors import LoraJaxError

PROMPT = "prompt"  # the column of the prompt that is written
NOTE = (
    "instruction, input and output are written as Alpaca's prompt (Below is an instruction ... ### Response:)"
    " and its answer: give a template for another"
)


def write_prompt(instruction: str, given: str) -> str:
    """Return the prompt of a row. If there is no input, it has no section for one."""
    if given.strip():
        start, section = ", paired with an input that provides further context", f"### Input:\n{given}\n\n"
    else:
        start, section = "", ""
    return (
        f"Below is an instruction that describes a task{start}. Write a response that appropriately completes"
        f" the request.\n\n### Instruction:\n{instruction}\n\n{section}### Response:\n"
    )


def write_question(fields: Mapping[str, str]) -> str:
    """Return what a user asks in a conversation: the instruction, and the input after an empty line."""
    return "\n\n".join(filter(str.strip, (fields["instruction"], fields["input"])))


def read_instruction(record: Record) -> Row:
    """Return a row whose prompt is one of its fields.

    Raises:
        LoraJaxError: There is no instruction or output, or there is a system prompt or history, which this
            prompt has no place for.
    """
    for name in ("system", "history"):
        if record.cells.get(name):
            raise LoraJaxError(
                f"{record.where} has a {name}, for which Alpaca's prompt has no place: write the rows as"
                " messages."
            )
    instruction, given = record.get_text("instruction"), as_text(record.cells.get("input")) or ""
    written = {"input": given, PROMPT: write_prompt(instruction, given)}
    return Row(record.number, fields_of(record, "output") | written, None, record.get_text("output"))
