"""The plan of a sweep: what every run costs, before anything trains."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from lora_jax.collecting import uncollected
from lora_jax.config import RunConfig, run_id, trunk_id
from lora_jax.model.declare import count_parameters, flops_per_token
from lora_jax.model.parametrisation import check_head_widths
from lora_jax.runs.machine import seconds_per_step
from lora_jax.target import Device, Target, one_of
from lora_jax.training.cpu_memory import memory_bytes
from lora_jax.training.device_memory import ALONE, Split, predict_memory
from lora_jax.training.remat import resolve_run
from lora_jax.training.schedules import cooldown_start, peak_learning_rate

CPU = Target("cpu", "cpu")
EVALUATION_SHARE = 1 / 3  # time to evaluate a token over the time to train on it: the forward pass alone


@dataclass(frozen=True)
class PlannedRun:
    """The cost of one run.

    `own_steps` and `seconds` leave out what the run takes from a trunk that another run pays for. A saved
    state to resume from is not taken into account, so an interrupted sweep needs less.

    Attributes:
        run: The run.
        run_id: Its id.
        trunk_id: The id of its trunk.
        n_params: Parameters without embeddings and output head.
        n_params_with_head: Parameters with the output head.
        flops: FLOPs of the whole run if it trained alone.
        own_steps: Steps that this run pays for.
        seconds: Estimated time of these steps and of the evaluation.
        memory_bytes: Predicted peak memory of a step on one device.
        finished: Whether it has a record already.
        learning_rate: The peak that is used, by the rule of training/schedules.py.
        remat: If model.remat is "fit", which policy that is, and why.
    """

    run: RunConfig
    run_id: str
    trunk_id: str
    n_params: int
    n_params_with_head: int
    flops: float
    own_steps: int
    seconds: float
    memory_bytes: float
    finished: bool
    learning_rate: float
    remat: str = ""

    @property
    def own_tokens(self) -> int:
        """Tokens of the steps that this run pays for."""
        return self.own_steps * self.run.tokens_per_step

    @property
    def n_steps(self) -> int:
        """Steps of the whole run."""
        return self.run.n_steps

    @property
    def shape(self) -> str:
        """The model's size and the batch, such as "d768x12, batch 32 x 1024"."""
        model, rows = self.run.model, self.run.optim.batch_size
        return f"d{model.d_model}x{model.n_layers}, batch {rows} x {self.run.data.seq_len}"

    @property
    def description(self) -> str:
        """The model's size and the seed, in a word or two."""
        return f"d{self.run.model.d_model}x{self.run.model.n_layers} seed {self.run.seed}"


@uncollected()
def plan_runs(
    runs: Sequence[RunConfig], finished: Collection[str], device: Device | None, split: Split = ALONE
) -> list[PlannedRun]:
    """Order the runs by trunk, the smallest model first, and price each. Finished runs cost nothing.

    Args:
        runs: The runs.
        finished: Ids of finished runs.
        device: The accelerator to price for. None is this machine's CPU, whose matmuls are timed.
        split: How several such devices share a step. Memory is that of one of them. The time is as if there
            were one.

    Raises:
        LoraJaxError: Under muP or CompleteP, heads get wider with the model.
    """
    check_head_widths(run.model for run in runs)
    trunks: dict[str, list[RunConfig]] = {}
    for run in sorted(runs, key=lambda run: (count_parameters(run.model).total, run.seed, run.n_tokens)):
        trunks.setdefault(trunk_id(run), []).append(run)
    step_seconds: dict[object, float] = {}
    memory: dict[object, tuple[float, str]] = {}
    planned = []
    for trunk, members in trunks.items():
        shared = 0  # steps of the trunk that an earlier member pays for
        for run in members:
            shape = (run.model, run.optim.batch_size, run.optim.accumulate, run.data.seq_len)
            if shape not in step_seconds:
                step_seconds[shape] = seconds_per_step(run, device)
            name = run_id(run)
            done = name in finished
            own_steps = 0 if done else run.n_steps - shared
            if not done:
                shared = cooldown_start(run)
            recipe = (run.model, run.optim, run.data.seq_len)
            if recipe not in memory:
                memory[recipe] = _predict(run, device, split)
            planned.append(_price(run, name, trunk, own_steps, step_seconds[shape], memory[recipe]))
    return planned


def _predict(run: RunConfig, device: Device | None, split: Split) -> tuple[float, str]:
    """Return the bytes of a run's step, and which remat policy was chosen for it, in words."""
    target = CPU if device is None else one_of(device)
    traced, choice = resolve_run(run, target, split)
    needed = memory_bytes(traced) if device is None else predict_memory(traced, target, split).peak
    return needed, "" if choice is None else choice.explain()


def _price(
    run: RunConfig, name: str, trunk: str, own_steps: int, step_seconds: float, memory: tuple[float, str]
) -> PlannedRun:
    done = own_steps == 0
    counts = count_parameters(run.model)
    evaluation = EVALUATION_SHARE * run.data.heldout_tokens / run.tokens_per_step
    return PlannedRun(
        run=run,
        run_id=name,
        trunk_id=trunk,
        n_params=counts.non_embedding,
        n_params_with_head=counts.with_head,
        flops=float(flops_per_token(run.model, run.data.seq_len)) * run.n_steps * run.tokens_per_step,
        own_steps=own_steps,
        seconds=0.0 if done else (own_steps + evaluation) * step_seconds,
        memory_bytes=memory[0],
        remat=memory[1],
        finished=done,
        learning_rate=peak_learning_rate(run),
    )
