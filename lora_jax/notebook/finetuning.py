"""`lora_jax.finetune` and `lora_jax.evaluate`: adapt a model to a task, or score a task by prompts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lora_jax.commands.finetune import conclude
from lora_jax.commands.finetune import train as train_sweep
from lora_jax.commands.training import Origin, TrainingOptions, say
from lora_jax.comparison.results import MethodComparison
from lora_jax.config import TaskConfig
from lora_jax.finetuning.config import FinetuneSweep
from lora_jax.finetuning.experiment import FinetuneExperiment
from lora_jax.finetuning.export import export_chosen
from lora_jax.finetuning.prepare import prepare
from lora_jax.huggingface.pretrained import Pretrained
from lora_jax.notebook.models import AdaptedModel, make_engine
from lora_jax.params import Params
from lora_jax.prompting.evaluate import Evaluation
from lora_jax.prompting.evaluate import evaluate as ask
from lora_jax.prompting.load import load_prompted
from lora_jax.prompting.prompt import Prompt, find_prompt
from lora_jax.prompting.shots import Shots
from lora_jax.runs.store import RunStore
from lora_jax.training.saving import DEFAULT, Saving


@dataclass(frozen=True)
class ComparedMethods:
    """A results folder of finished fine-tuning runs. A notebook shows the methods side by side.

    Attributes:
        folder: The folder. `lora-jax fit` and `lora-jax report` read it too.
        comparison: The methods with their scores, intervals and paired differences.
        exported: A line about each method: where its adapter for peft is, or why peft has no form for it.
    """

    folder: Path
    comparison: MethodComparison
    exported: tuple[str, ...] = ()

    @property
    def page(self) -> Path:
        """The report. It is one file that you can open in a browser."""
        return self.folder / "report.html"

    def __repr__(self) -> str:
        labels = ", ".join(method.label for method in self.comparison.methods)
        return f"ComparedMethods({labels} in {self.folder})"

    def _repr_html_(self) -> str:
        from lora_jax.notebook.showing import show
        from lora_jax.report.methods.rows import method_rows

        return show(None, [], [method_rows(self.comparison)])


def finetune(
    sweep: FinetuneSweep,
    folder: str | Path,
    *,
    lanes: int | None = 1,
    halving: bool = False,
    tracker: Literal["off", "wandb", "trackio"] = "off",
    saving: Saving = DEFAULT,
) -> ComparedMethods:
    """Adapt a pretrained model to a task by several methods, compare them, and write the report.

    Each method tries its own learning rates with the first seed. The best rate on the dev split then gets all
    seeds. A run that the folder already holds is not trained again. The adapter of each method's best rate is
    written for peft to folder/peft.

    Args:
        sweep: The base, the task, the methods, the rates and the seeds.
        folder: The results folder. It is made if it does not exist.
        lanes: How many runs of one shape may train side by side in one program. None measures which number is
            fastest.
        halving: Whether to stop the worse half of a method's learning rates at each dev score but the last.
        tracker: "off", "wandb", or "trackio", whose dashboard needs no account.
        saving: How often the state of a run is saved, and which states are kept.

    Returns:
        The methods with their scores and intervals.

    Raises:
        LoraJaxError: The base or the task is missing, or the folder holds other runs.
        KeyboardInterrupt: It was interrupted. Every finished run is kept.
    """
    folder = Path(folder)
    experiment = FinetuneExperiment(folder.resolve().name, "", sweep)
    options = TrainingOptions(
        tracker=tracker,
        lanes=lanes,
        halving=halving,
        saving=saving,
        origin=Origin(f"lora_jax.finetune(sweep, {str(folder)!r})"),
    )
    store = RunStore(folder)
    prepared = prepare(sweep.base, sweep.task, say)
    if train_sweep(experiment, prepared, store, options):
        raise KeyboardInterrupt(f"Stopped. Every finished run is kept in {folder}; call it again to go on.")
    found = conclude(experiment.name, store, options)
    return ComparedMethods(folder, found, tuple(export_chosen(sweep, prepared, store)))


def evaluate(
    base: Pretrained,
    task: str | TaskConfig,
    *,
    shots: Shots = Shots(0),  # noqa: B008 (frozen)
    prompt: Prompt | None = None,
    weights: Params | AdaptedModel | None = None,
    n_examples: int | None = None,
) -> Evaluation:
    """Score a task as next-word prediction, with or without examples in the prompt.

    Args:
        base: The model and its tokenizer.
        task: A task such as "sentiment-sample", "sst2" or "files:FOLDER".
        shots: The examples in the prompt, such as Shots(8, seed=1). The default is none.
        prompt: The template and the answers, a `lora_jax.prompting.prompt.Prompt`. The default is that of the
            task.
        weights: Weights in place of the base's: merged ones, or an adapted model.
        n_examples: Number of questions from the test split. The default is all.

    Returns:
        The scores with their intervals, the predictions, and what they cost in tokens and seconds.

    Raises:
        LoraJaxError: The task is missing, or it has no prompt of its own and you gave none.
    """
    config = TaskConfig(name=task) if isinstance(task, str) else task
    prompt = prompt or find_prompt(config.name, None, None, None)
    data = load_prompted(config, prompt)
    return ask(make_engine(base, weights), base.tokenizer, data, prompt, shots, n_examples=n_examples)
