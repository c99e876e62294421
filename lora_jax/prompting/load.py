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
    """Load a task with the prompt's template filled in. The text of an example is then the question.

    Rows are drawn as for fine-tuning with the same `config`. If nothing may be trained on a benchmark, its
    train split is what it sets aside for demonstrations.

    Args:
        config: The task.
        prompt: The prompt.
        cache_dir: Where downloads are kept. None takes the usual cache.
        say: Called with a line about what is done.

    Raises:
        LoraJaxError: The task lacks a column, has not as many labels as the prompt has answers, has no split
            to evaluate on, or `load_task` refuses it.
    """
    config = replace(config, template=prompt.template, answers=prompt.answers or None)
    return load_task(config, cache_dir, say, for_prompts=True)
