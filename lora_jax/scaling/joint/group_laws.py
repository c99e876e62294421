"""The law of each group of runs, such as a recipe or a method. Its replicates include noise and misfit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from lora_jax.estimate import Estimate
from lora_jax.scaling.fitting.fit import Fit, fit
from lora_jax.scaling.fitting.newton import Data
from lora_jax.scaling.fitting.problem import Answer, Problem
from lora_jax.scaling.intervals.noise import departure
from lora_jax.scaling.intervals.uncertainty import FEW_RUNS, bootstrap, interval, labels_of, refit
from lora_jax.scaling.joint.grouped_law import GROUP, GroupedLaw, grouped
from lora_jax.scaling.joint.misfit import Misfits, can_tell, draw_errors, make_kernel
from lora_jax.scaling.laws.law import Array, Law
from lora_jax.scaling.tables.cells import UNSEEDED, SeedNoise
from lora_jax.scaling.tables.run_table import RunTable

USUAL = "squared"  # objective


@dataclass(frozen=True)
class HowToFit:
    """How the laws of the groups are fitted.

    Attributes:
        law: The law.
        objective: What a fit minimises. None takes the squares of ln residuals, because the intervals of a
            Huber fit are a fifth wider and cover 98 %.
        shared: Parameters that all groups share.
        fixed: Parameters that are held at a value, in every group.
        n_bootstrap: Replicates.
        seed: Seed of the draws.
    """

    law: Law
    objective: str | None = None
    shared: tuple[str, ...] = ()
    fixed: Mapping[str, float] = field(default_factory=dict)
    n_bootstrap: int = 2000
    seed: int = 0

    @property
    def goal(self) -> str:
        """The name of the objective."""
        return self.objective or USUAL


@dataclass(frozen=True)
class GroupLaw:
    """The law of one group: of a recipe, of one size of a recipe, or of a method.

    Attributes:
        problem: The law, and the units of theta.
        theta: The fitted parameters, (P,).
        samples: Their replicates, (B, P).
        noise: Standard deviation of ln L of one run, in each replicate (B,).
        misfits: How far mean losses lie from the law in each replicate. None if the runs cannot tell.
        group: The number of the group among those of `misfits`.
    """

    problem: Problem
    theta: Array
    samples: Array
    noise: Array
    misfits: Misfits | None = None
    group: float = 1.0

    @property
    def params(self) -> dict[str, float]:
        """The published parameters."""
        return {k: float(v) for k, v in self.problem.law.to_params(self.theta, self.problem.centre).items()}

    @property
    def samples_of_params(self) -> dict[str, Array]:
        """The replicates of the published parameters, each (B,)."""
        return self.problem.law.to_params(self.samples, self.problem.centre)

    @property
    def intervals(self) -> dict[str, Estimate]:
        """The published parameters with the 95 % intervals of their replicates."""
        fixed, samples = self.problem.fixed, self.samples_of_params
        return {
            name: replace(interval(value, samples[name]), by="fixed" if name in fixed else "bootstrap")
            for name, value in self.params.items()
        }

    def misfit_at(self, values: Mapping[str, float], seed: int) -> Array:
        """Return how far the mean of ln L at a place lies from the law, in each replicate (B,).

        Args:
            values: The place: a value of each variable.
            seed: Seed of the draws.
        """
        if self.misfits is None:
            return np.zeros(len(self.samples))
        return self.misfits.at(values, self.group, np.random.default_rng((seed, 3, int(self.group))))


def fit_alone(table: RunTable, how: HowToFit) -> Fit:
    """Fit the law to one group. It raises LoraJaxError as `fit` does."""
    return fit(how.law, table, how.goal, fixed=how.fixed)


def law_alone(found: Answer, how: HowToFit, noise: SeedNoise = UNSEEDED, stream: int = 0) -> GroupLaw:
    """Return the law of one group with replicates of its own.

    Args:
        found: The fit, of a row for each cell.
        how: How it was fitted.
        noise: The noise of a row, by seeds.
        stream: Number of the group. Groups must not share their draws.
    """
    groups = np.full(len(found.problem.table), 1.0)
    theta, sd, misfits = _replicates(found, how, noise, groups, stream_seed(how.seed, stream))
    return GroupLaw(found.problem, found.theta, theta, sd, misfits)


def laws_together(tables: Sequence[RunTable], how: HowToFit, noise: SeedNoise = UNSEEDED) -> list[GroupLaw]:
    """Fit the laws of several groups together. They share one noise, and the parameters in `how.shared`.

    Args:
        tables: The runs of each group.
        how: How to fit.
        noise: The noise between seeds, if it is known.
    """
    law, joined = pose_together(tables, how)
    fixed = {n: how.fixed[n.partition("[")[0]] for n in law.names if n.partition("[")[0] in how.fixed}
    return laws_of_joint(fit(law, joined, how.goal, fixed=fixed), how, noise)


def pose_together(tables: Sequence[RunTable], how: HowToFit) -> tuple[GroupedLaw, RunTable]:
    """Return the joint law of several groups, and their rows as one table."""
    return grouped(how.law, len(tables), how.shared), join_tables(tables, how.law)


def laws_of_joint(found: Answer, how: HowToFit, noise: SeedNoise = UNSEEDED) -> list[GroupLaw]:
    """Return the law of each group, with replicates, from an answer to the joint problem.

    Args:
        found: An answer to the problem that `pose_together` poses.
        how: How to fit.
        noise: The noise between seeds, if it is known.
    """
    law = found.law
    assert isinstance(law, GroupedLaw)
    theta, sd, misfits = _replicates(found, how, noise, found.problem.table[GROUP], how.seed)
    problem = _problem_of(found.problem, law, how)
    return [
        GroupLaw(problem, law.group_theta(found.theta, k), law.group_theta(theta, k), sd, misfits, float(k))
        for k in range(1, len(law.places) + 1)
    ]


def _replicates(
    found: Answer, how: HowToFit, noise: SeedNoise, groups: Array, seed: int
) -> tuple[Array, Array, Misfits | None]:
    """Return theta (B, P), the sd of the noise (B,) and the misfits of the replicates.

    Errors are drawn, and misfits with them, where the rows are enough to tell the two apart and pass for
    independent. Else the fit's usual bootstrap has the word, which knows no misfit.
    """
    problem, variables = found.problem, tuple(v for v in found.law.variables if v != GROUP)
    labels = labels_of(found)
    alone = problem.table.clusters is None and labels.max() + 1 == len(labels)
    few = len(labels) < FEW_RUNS
    if not (can_tell(found) and alone and (few or departure(problem, found.theta, labels) is None)):
        drawn = bootstrap(found, how.n_bootstrap, seed=seed)
        return drawn.theta, drawn.noise_sd, None
    rng = np.random.default_rng((seed, 0))
    kernel = make_kernel(problem.table, variables, groups)
    errors, sd, misfits = draw_errors(found, kernel, noise, how.n_bootstrap, rng)
    d, clean = problem.data, found.law.log_loss(found.theta, problem.data.features)
    theta, good = refit(
        found, how.n_bootstrap, lambda some: Data(d.law, d.features, clean + errors[some], d.weights)
    )
    return theta[good], sd[good], misfits.only(good)


def join_tables(tables: Sequence[RunTable], law: Law) -> RunTable:
    """Return the rows of several tables as one table. It has what the law reads, and a column "group"."""
    parts = [{v: table.variable(v) for v in law.variables} for table in tables]
    columns = {tables[0].column_of(v): np.concatenate([part[v] for part in parts]) for v in law.variables}
    columns["loss"] = np.concatenate([table["loss"] for table in tables])
    columns[GROUP] = np.concatenate([np.full(len(t), float(k)) for k, t in enumerate(tables, 1)])
    labels = None
    if all(table.clusters is not None for table in tables):
        labels = tuple(f"{k}: {c}" for k, t in enumerate(tables) for c in t.clusters or ())
    ids = tuple(name for table in tables for name in table.run_ids)
    first = tables[0]
    return RunTable(
        " and ".join(dict.fromkeys(table.source for table in tables)),
        ids,
        columns,
        n_column=first.n_column,
        flops_column=first.flops_column,
        loss_unit=first.loss_unit,
        clusters=labels,
    )


def _problem_of(joint: Problem, law: GroupedLaw, how: HowToFit) -> Problem:
    """Return the problem of one group: the base law in the joint problem's units."""
    low, high = joint.bounds
    place = list(law.places[0])
    return replace(joint, law=how.law, bounds=(low[place], high[place]), fixed=how.fixed)


def stream_seed(seed: int, stream: int) -> int:
    """Return a seed for each group, so that no two groups share their draws."""
    return int(np.random.SeedSequence((seed, stream)).generate_state(1)[0])
