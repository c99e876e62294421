"""From a budget to the design with the narrowest interval at the target.

We judge a design by the interval of ln L at the target that it would give, to first order (forecast.py). We
choose among lattices of sizes and D/N ratios (lattice.py). On Hoffmann's constants a plan of 20 runs gives
about half the interval of the D = 20 N ladder of the same cost and number of runs, fitted by the same law
(test_design.py).

If we exchanged single runs of the lattice for others, the interval would narrow by another 6 to 10 % (1e18
and 1e22 FLOPs). We do not, because one line could no longer describe the grid, and nobody could look at its
rows and columns one by one where a law does not fit.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.percent import percent
from lora_jax.scaling.laws import CHINCHILLA
from lora_jax.scaling.laws.law import Array, Law
from lora_jax.scaling.planning.design import LADDER_RATIO, Cell, Design, Ladder, check_design
from lora_jax.scaling.planning.forecast import FlopsPerToken, Forecast, make_forecast, runs_of, six_n
from lora_jax.scaling.planning.lattice import SIZE_SPANS, SMALLEST_SIZE, Lattice, Limits, lattices, paid_flops
from lora_jax.scaling.planning.spread import simulate_spread
from lora_jax.scaling.prediction.reach import out_of_reach
from lora_jax.scaling.tables.run_table import RunTable

SPARE_RUNS = 5  # degrees of freedom of a plan: with fewer, Student's t alone makes its interval a third wider
AS_GOOD = 1.02  # designs whose interval is this close to the best's are chosen among by simplicity
RATIO_RANGE = (4.0, 400.0)  # D/N; those of Gadre et al. 2403.08540 are 5 to 640
FAR = 100.0  # times the dearest run: a target beyond that is said to be far
ON_THE_LINE = 0.1  # in ln of D/N
AGREES = 1.25  # first-order and simulated interval within this factor


def plan_design(
    params: Mapping[str, float],
    budget_flops: float,
    *,
    law: Law = CHINCHILLA,
    noise_sd: float = 0.01,
    target: Mapping[str, float] | None = None,
    target_flops: float | None = None,
    existing: RunTable | None = None,
    n_range: tuple[float, float] = (SMALLEST_SIZE, np.inf),
    ratio_range: tuple[float, float] = RATIO_RANGE,
    max_runs: int = 20,
    max_share: float = 0.5,
    max_tokens: float = np.inf,
    share_trunks: bool = False,
    cooldown_fraction: float = 0.2,
    flops_per_token: FlopsPerToken = six_n,
    flops_per_second: float | None = None,
    draws: Mapping[str, Array] | None = None,
    n_simulated: int = 200,
    seed: int = 0,
) -> Design:
    """Plan training runs that promise the narrowest interval of the loss at the target.

    The plan is a grid of sizes and of ratios D/N. All its runs together cost at most `budget_flops`.

    Args:
        params: Published parameters of the law, usually those of a fit.
        budget_flops: Training FLOPs for all runs together.
        law: A law of N and D.
        noise_sd: Standard deviation of ln L between seeds.
        target: Where to know the loss: {"N": parameters, "D": tokens}. Give this or `target_flops`.
        target_flops: Where to know the loss: the run of least loss at this compute.
        existing: Runs that are already trained. They cost nothing.
        n_range: Smallest and largest N.
        ratio_range: Smallest and largest D/N.
        max_runs: Largest number of runs.
        max_share: Largest share of the budget for one run.
        max_tokens: Largest number of tokens of one run, for example the size of your corpus.
        share_trunks: Whether runs of one size branch off one warmup-stable-decay run. Each then pays only for
            its own cooldown (Haegele et al. 2024, arXiv 2405.18392).
        cooldown_fraction: Share of a run's tokens that its cooldown takes.
        flops_per_token: Maps parameters (n,) to training FLOPs per token (n,). The default is 6 N.
        flops_per_second: Measured speed, to show how long each run takes.
        draws: Bootstrap replicates of the parameters, each (B,). At most 32 are used, and the promised
            interval is the median over them.
        n_simulated: Number of simulated tables for the comparison with a ladder of runs at 20 tokens per
            parameter; 0 skips it.
        seed: Seed of the simulation.

    Returns:
        The runs, the interval they promise, and the comparison with the ladder.

    Raises:
        LoraJaxError: No grid of at least 4 sizes, 3 ratios and P + 5 runs fits the limits, where P is the
            number of parameters of the law.
    """
    forecast = make_forecast(
        law,
        params,
        noise_sd=noise_sd,
        target=target,
        target_flops=target_flops,
        flops_per_token=flops_per_token,
        draws=draws,
    )
    if flops_per_second is not None and not flops_per_second > 0:
        raise LoraJaxError(f"The speed is {flops_per_second} FLOPs per second: give a number above 0.")
    limits = Limits(
        float(budget_flops),
        n_range,
        ratio_range,
        len(law.names) + SPARE_RUNS,
        max_runs,
        max_share,
        max_tokens,
        share_trunks,
        cooldown_fraction,
        flops_per_token,
    )
    old = runs_of(existing)
    best, variance = _choose(forecast, limits, old)
    cells = price(limits, best.n_params, best.n_tokens, flops_per_second)
    check_design(cells, law)
    freedom = len(cells) + len(old[0]) - len(law.names)
    ladder = None
    if n_simulated:
        rungs = price(limits, *ladder_runs(limits, len(cells)), flops_per_second)
        its, own = (
            simulate_spread(forecast, *_joined(old, some), n=n_simulated, seed=seed)
            for some in (rungs, cells)
        )
        ladder = Ladder(rungs, its, own)
    half_width = forecast.half_width(variance, freedom)
    return Design(
        forecast,
        cells,
        float(budget_flops),
        old,
        forecast.sd(variance),
        half_width,
        best.words,
        ladder,
        (*_of_table(existing, forecast), *_warnings(forecast, limits, cells, half_width, ladder)),
    )


def price(limits: Limits, n_params: Array, n_tokens: Array, speed: float | None) -> tuple[Cell, ...]:
    """Return the runs with their costs.

    Args:
        limits: What the design must keep to.
        n_params: N of each run, (n,).
        n_tokens: D of each run, (n,).
        speed: FLOPs per second, for the time that each run takes.
    """
    flops = limits.flops_per_token(n_params) * n_tokens
    paid = paid_flops(limits, n_params, n_tokens)
    return tuple(
        Cell(float(n), float(d), float(c), float(p), None if speed is None else float(p / speed))
        for n, d, c, p in zip(n_params, n_tokens, flops, paid, strict=True)
    )


def ladder_runs(limits: Limits, n_runs: int, ratio: float = LADDER_RATIO) -> tuple[Array, Array]:
    """Return N and D, (n,) each, of a ladder D = ratio N that costs the whole budget.

    Its sizes span as much as a plan's may, in equal factors. Within that span, wider ladders and ladders of
    more runs had the narrower interval at all budgets that we tried (Hoffmann's constants, 1e18 to 1e22
    FLOPs).
    """
    size = np.geomspace(1 / SIZE_SPANS[-1], 1, n_runs)
    ln_top = 0.5 * np.log(limits.budget_flops / (6 * ratio * (size**2).sum()))
    for _ in range(60):
        cost = limits.flops_per_token(np.exp(ln_top) * size) * ratio * np.exp(ln_top) * size
        ln_top -= 0.5 * np.log(cost.sum() / limits.budget_flops)
    return np.exp(ln_top) * size, ratio * np.exp(ln_top) * size


def _joined(old: tuple[Array, Array], cells: Sequence[Cell]) -> tuple[Array, Array]:
    n_params, n_tokens = old
    return (
        np.concatenate([n_params, [c.n_params for c in cells]]),
        np.concatenate([n_tokens, [c.n_tokens for c in cells]]),
    )


def _choose(forecast: Forecast, limits: Limits, old: tuple[Array, Array]) -> tuple[Lattice, Array]:
    """Return the lattice of the narrowest interval and its variance factors (B,).

    Among those as good, the one with fewest sizes to set up, then with fewest runs, then the narrowest.
    """
    before = forecast.jacobian(*old)
    n_old, n_theta = before.shape[1:]
    if n_old > n_theta:  # R of J = QR stands for any number of runs: R'R = J'J
        before = np.linalg.qr(before, mode="r")
    found: list[tuple[float, Lattice, Array]] = []
    for one in lattices(limits):
        after = np.concatenate([before, forecast.jacobian(one.n_params, one.n_tokens)], axis=1)
        variance = forecast.variance(after)
        if variance is not None:
            freedom = n_old + len(one.n_params) - n_theta
            found.append((forecast.half_width(variance, freedom), one, variance))
    if not found:
        raise LoraJaxError(
            f"{limits.budget_flops:.3g} FLOPs buy no design of 4 sizes and 3 D/N ratios with N from"
            f" {limits.n_range[0]:.3g} to {limits.n_range[1]:.3g} and D/N from {limits.ratio_range[0]:g} to"
            f" {limits.ratio_range[1]:g}: raise the budget, or widen these."
        )
    narrowest = min(width for width, _, _ in found)
    good = [one for one in found if one[0] <= AS_GOOD * narrowest]
    _, best, variance = min(good, key=lambda one: (one[1].n_sizes, len(one[1].n_params), one[0]))
    return best, variance


def _of_table(table: RunTable | None, forecast: Forecast) -> tuple[str, ...]:
    """What the runs there are make doubtful, and whether the target is out of their reach."""
    if table is None:
        return ()
    target = forecast.target
    return (*table.doubts, *out_of_reach(table, [6 * target.n_params * target.n_tokens]))


def _warnings(
    forecast: Forecast, limits: Limits, cells: Sequence[Cell], half_width: float, ladder: Ladder | None
) -> tuple[str, ...]:
    said = []
    target, spent = forecast.target, sum(c.paid_flops for c in cells)
    far = target.flops / max(c.flops for c in cells)
    if far > FAR:
        said.append(
            f"the target costs {far:.0f} times the dearest run: we assume that one law holds that far"
        )
    ratios = [c.tokens_per_parameter for c in cells]
    if not min(ratios) / 1.01 <= target.n_tokens / target.n_params <= max(ratios) * 1.01:
        said.append(
            f"the target's D/N of {target.n_tokens / target.n_params:.3g} lies outside the runs',"
            f" {min(ratios):.3g} to {max(ratios):.3g}"
        )
    if spent < 0.9 * limits.budget_flops:
        said.append(
            f"the largest N or D allowed leaves {percent(1 - spent / limits.budget_flops)} of the"
            " budget unspent"
        )
    if limits.share_trunks:
        said.append(
            "runs of one size share a trunk: the interval takes their noise as independent, so cluster the"
            " bootstrap by trunk"
        )
    if abs(np.log(target.n_tokens / target.n_params / LADDER_RATIO)) < ON_THE_LINE:
        said.append(
            f"the target lies on the line D = {LADDER_RATIO:g} N: there a ladder fitted with one power law of"
            " N and a floor gives about as narrow an interval, but says nothing about any other D/N"
        )
    if ladder is None:
        return tuple(said)
    simulated = ladder.plan_spread.half_width
    if not 1 / AGREES < simulated / half_width < AGREES:
        said.append(
            f"simulation gives {simulated / half_width:.2f} times the first-order interval: believe the"
            " simulated one"
        )
    if ladder.spread.half_width < simulated:
        said.append(
            f"a ladder of D = {LADDER_RATIO:g} N gives {ladder.spread.half_width / simulated:.2f} times this"
            " interval at this target; it still cannot separate the exponents of N and D"
        )
    return tuple(said)
