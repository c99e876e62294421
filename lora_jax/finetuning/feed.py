"""What each step of a run reads: its batch, its hyperparameters and the dropout key.

All follow from the seed.
"""

from lora_jax.data.tasks import Batches, make_batches
from lora_jax.finetuning.config import FinetuneConfig, TuneConfig
from lora_jax.finetuning.prepare import Prepared
from lora_jax.finetuning.step import dropout_key
from lora_jax.training.optimizers.optimizer import make_hyperparams
from lora_jax.training.schedules import Schedule
from lora_jax.training.step import StepInput


def unit_rate(optim: TuneConfig, n_steps: int, step: int) -> float:
    """Return a step's learning rate as a share of the peak: linear warmup, then the schedule."""
    return Schedule(
        optim.schedule,
        round(optim.warmup_fraction * n_steps),
        n_steps,
        optim.cooldown,
        optim.cooldown_fraction,
        optim.final_lr_fraction,
    ).rate(step)


def count_steps(config: FinetuneConfig, prepared: Prepared) -> int:
    """Return the number of steps of a run: `optim.steps`, or those of all epochs.

    All epochs have equally many.
    """
    return _count(config.optim, _epoch(config, prepared, 0))


def count_epochs(config: FinetuneConfig, prepared: Prepared) -> float:
    """Return how often a run sees its training examples."""
    batches = _epoch(config, prepared, 0)
    return _count(config.optim, batches) / len(batches)


def _count(optim: TuneConfig, batches: Batches) -> int:
    return optim.epochs * len(batches) if optim.steps is None else optim.steps


def _epoch(config: FinetuneConfig, prepared: Prepared, epoch: int) -> Batches:
    packed = config.task.batching == "packed"
    return make_batches(prepared.train, config.optim.batch_size, seed=config.seed, epoch=epoch, packed=packed)


class Feed:
    """The inputs of a run, by step.

    Attributes:
        n_steps: Number of steps of the run.
        n_tokens: By step, the tokens of those steps that were asked for, without padding.
    """

    def __init__(self, config: FinetuneConfig, prepared: Prepared) -> None:
        self._config, self._prepared = config, prepared
        self._epoch, self._batches = 0, _epoch(config, prepared, 0)
        self._key = dropout_key(config.seed)
        self.n_steps = _count(config.optim, self._batches)
        self.n_tokens: dict[int, int] = {}

    def longest(self) -> StepInput:
        """Return the input of the longest batch of the first epoch, which takes the most memory."""
        lengths = _epoch(self._config, self._prepared, 0).lengths
        return self.make(lengths.index(max(lengths)))

    def make(self, step: int) -> StepInput:
        """Return the input of a step, counted from 0."""
        epoch, index = divmod(step, len(self._batches))
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, _epoch(self._config, self._prepared, epoch)
        batch, optim = self._batches[index], self._config.optim
        self.n_tokens[step] = int((batch.segments_BT != 0).sum())
        rate = optim.learning_rate * unit_rate(optim, self.n_steps, step)
        return StepInput(batch, make_hyperparams(optim.numbers, rate), self._key)
