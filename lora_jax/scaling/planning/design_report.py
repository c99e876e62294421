"""What a design or the next run promises, as types: design.json.

Every field is the key of the same name in the document. `Design.report` and `NextRun.report` make them.
Losses at the target are in nats per token, with the 95 % interval that the runs would give.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lora_jax.estimate import Estimate


@dataclass(frozen=True)
class PlannedTarget:
    """The run whose loss is to be known."""

    n_params: float
    n_tokens: float
    tokens_per_parameter: float
    flops: float


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One run to train.

    Attributes:
        paid_flops: FLOPs that the run adds to the bill.
        seconds: Expected time. None if no speed was given.
    """

    n_params: float
    n_tokens: float
    tokens_per_parameter: float
    flops: float
    paid_flops: float
    seconds: float | None


@dataclass(frozen=True)
class Promise:
    """What runs would tell about the loss at the target.

    The fields are None if the interval is too wide for any use.
    """

    loss_at_target: Estimate | None
    half_width_percent: float | None


@dataclass(frozen=True, kw_only=True)
class OfferedRun(PlannedRun):
    """A run that may be bought, and what it would promise.

    Attributes:
        loss_at_target: The loss at the target with this run.
        half_width_percent: Half its interval, in percent.
        narrower: Share of the interval that this run takes off.
        narrower_per_flop: The same per FLOP.
    """

    loss_at_target: Estimate | None
    half_width_percent: float | None
    narrower: float
    narrower_per_flop: float


@dataclass(frozen=True, kw_only=True)
class SimulatedPromise:
    """What simulated tables of the planned runs say about the loss at the target.

    Attributes:
        n: Number of simulated tables.
        n_unfinished: Number of tables that could not be fitted.
    """

    loss_at_target: Estimate
    half_width_percent: float
    n: int
    n_unfinished: int


@dataclass(frozen=True, kw_only=True)
class LadderPromise(SimulatedPromise):
    """The same for the ladder of runs with D = 20 N.

    Attributes:
        narrower_by: Share by which the plan's interval is narrower than the ladder's.
    """

    tokens_per_parameter: float
    cells: tuple[PlannedRun, ...]
    narrower_by: float


@dataclass(frozen=True, kw_only=True)
class DesignReport:
    """The runs to train.

    Attributes:
        design: The plan in words.
        simulated: What simulated tables of the plan say. None if nothing was simulated.
        ladder: The same for the ladder. None if nothing was simulated.
    """

    law: str
    params: Mapping[str, float]
    noise_sd: float
    n_parameter_sets: int
    budget_flops: float
    spent_flops: float
    seconds: float | None
    n_runs: int
    n_existing: int
    degrees_of_freedom: int
    design: str
    target: PlannedTarget
    loss_at_target: Estimate
    half_width_percent: float
    simulated: SimulatedPromise | None
    ladder: LadderPromise | None
    cells: tuple[PlannedRun, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class NextRunReport:
    """The next run worth buying, and other runs on offer.

    Attributes:
        before: What the runs there are promise.
        worth: Share of the interval that a run must take off to be worth buying.
        choice: The run. None if no run is worth buying.
        by_gain: Runs on offer, the largest gain first.
        by_gain_per_flop: Runs on offer, the largest gain per FLOP first.
    """

    law: str
    noise_sd: float
    target: PlannedTarget
    before: Promise
    worth: float
    choice: OfferedRun | None
    words: str
    by_gain: tuple[OfferedRun, ...]
    by_gain_per_flop: tuple[OfferedRun, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
