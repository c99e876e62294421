"""A task whose examples are the questions of a prompt."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lora_jax.config import TaskConfig
from lora_jax.data.tasks import TaskData, load_task
from lora_jax.prompting.prompt import Prompt


def load_prompted(
    config: TaskConfig,
    prompt: Prompt,
    cache_dir: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> TaskData:
    """Return the task with the prompt's template filled in: an example's text is the question.

    Rows are drawn as for fine-tuning with the same `config`. A benchmark that nothing may be trained on gives
    what it holds aside as its train split: what demonstrations are drawn from.

    Raises:
        LoraJaxError: a column that the task does not have, more or fewer labels than the prompt has answers,
            no split to be evaluated on, or what else `load_task` refuses.
    """
    config = replace(config, template=prompt.template, answers=prompt.answers or None)
    return load_task(config, cache_dir, say, for_prompts=True)
