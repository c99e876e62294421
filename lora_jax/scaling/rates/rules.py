"""The rule for the learning rate that the best rates support, as a fragment of a config file."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from lora_jax.estimate import Estimate
from lora_jax.head_widths import RELATIVE
from lora_jax.scaling.rates.drifts import fit_line, point_of
from lora_jax.scaling.rates.grids import DEFAULT
from lora_jax.scaling.rates.results import Bowl, Drift, RateRule

REFERENCE_N = 100_000.0  # parameters at which optim.learning_rate is the peak
PARAMETRISATION = "model.parametrisation"
EXPONENT = "optim.lr_size_exponent"
BASE_BATCH, BASE_TOKENS, HORIZON = "optim.base_batch", "optim.base_tokens", "optim.horizon_exponent"
LEAST_SIZES = 3  # on an axis, for a rule that holds beyond them
HORIZON_EXPONENT = 0.3  # where a configuration does not write it down


def is_relative(shared: Mapping[str, str]) -> bool:
    """Return whether models with these settings have a base model, to which their rates relate."""
    return shared.get(PARAMETRISATION) in RELATIVE


def by_params(bowls: Sequence[Bowl]) -> list[Bowl]:
    """Return the grids with N in place of width and depth.

    There are none if N is not known, or if neither width nor depth varies.
    """
    varies = any(len({bowl.sizes.get(axis) for bowl in bowls}) > 1 for axis in ("width", "depth"))
    if not varies or any(bowl.n_params is None for bowl in bowls):
        return []
    rest = ("width", "depth")
    return [
        replace(bowl, sizes={"N": bowl.n_params} | {k: v for k, v in bowl.sizes.items() if k not in rest})
        for bowl in bowls
        if bowl.n_params is not None
    ]


def find_rule(
    bowls: Sequence[Bowl], drifts: Sequence[Drift], shared: Mapping[str, str], freedom: int
) -> RateRule:
    """Return the rule that a series supports.

    Args:
        bowls: Its grids, by N, batch and tokens, or, with a base model, by width and depth.
        drifts: How the best rate moves along these axes.
        shared: The settings that all runs have; none of a table of somebody's.
        freedom: Degrees of freedom of the noise.
    """
    good = [bowl for bowl in bowls if bowl.best is not None]
    if not good:
        return RateRule(None, None, ("No size has a best rate, so there is no rule to recommend.",))
    moving = {
        d.axis: d.slope
        for d in drifts
        if d.verdict == "moves" and d.slope is not None and d.n_sizes >= LEAST_SIZES
    }
    at = {axis: _reference(good, axis, shared) for axis in moving}
    rate = predict_rate(good, at, freedom)
    words = [_say_rate(rate, moving, at), *_say_range(good, at), *_say_doubts(drifts)]
    if not shared:
        return RateRule(None, rate, tuple(words))
    code = _write_code(rate, moving, at, shared, words)
    return RateRule(code, rate, tuple(words))


def predict_rate(bowls: Sequence[Bowl], at: Mapping[str, float], freedom: int) -> Estimate:
    """Return the best rate at a size, by a power law of the axes in `at`. Its `se` is that of ln rate.

    Args:
        bowls: Grids with a best rate.
        at: The size, by axis. Other axes make no difference.
        freedom: Degrees of freedom of the noise.
    """
    points = [point_of(bowl) for bowl in bowls]
    y, errors = (np.array(v) for v in zip(*points, strict=True))
    columns = [[math.log(bowl.sizes[axis] / size) for bowl in bowls] for axis, size in at.items()]
    design = np.column_stack([np.ones(len(bowls)), *columns])
    line = fit_line(design, y, errors, freedom)
    found = line.estimate(np.array([1.0] + [0.0] * len(columns)))
    return Estimate(math.exp(found.value), found.se, (math.exp(found.low), math.exp(found.high)))


def _reference(bowls: Sequence[Bowl], axis: str, shared: Mapping[str, str]) -> float:
    """Return the size for which the rate is written down: of N the one in our rule, of others the usual."""
    if axis == "N" and shared and shared.get(PARAMETRISATION, DEFAULT) in ("standard", DEFAULT):
        return REFERENCE_N
    if axis in ("N", "width", "depth"):
        return max(bowl.sizes[axis] for bowl in bowls)
    return Counter(bowl.sizes[axis] for bowl in bowls).most_common(1)[0][0]


def _say_rate(rate: Estimate, moving: Mapping[str, Estimate], at: Mapping[str, float]) -> str:
    powers = [
        f"({axis} / {_count(at[axis])})^{slope.value:.2f} ({slope.low:.2f} to {slope.high:.2f})"
        for axis, slope in moving.items()
    ]
    law = " times ".join([f"{rate.value:.3g} ({rate.low:.3g} to {rate.high:.3g})", *powers])
    return f"The best rate is {law}."


def _say_range(bowls: Sequence[Bowl], at: Mapping[str, float]) -> list[str]:
    words = []
    for axis, size in at.items():
        sizes = [bowl.sizes[axis] for bowl in bowls]
        if not min(sizes) <= size <= max(sizes):
            words.append(
                f"{axis} = {_count(size)} lies outside the sizes of these runs, {_count(min(sizes))} to"
                f" {_count(max(sizes))}."
            )
    return words


def _say_doubts(drifts: Sequence[Drift]) -> list[str]:
    words = []
    for drift in drifts:
        if drift.slope is not None and drift.n_sizes < LEAST_SIZES and drift.verdict != "does not move":
            words.append(
                f"Two sizes of {drift.axis}, {_count(drift.low)} and {_count(drift.high)}, give no rule for"
                f" {drift.axis}: train at least {LEAST_SIZES}."
            )
        elif drift.verdict == "not told apart" and drift.slope is not None:
            words.append(
                f"These runs cannot tell whether the rate should change with {drift.axis}: its power is"
                f" between {drift.slope.low:.2f} and {drift.slope.high:.2f}."
            )
        elif drift.missing is not None:
            words.append(f"Nothing is known of {drift.axis}: {drift.missing}")
    return words


def _write_code(
    rate: Estimate,
    moving: Mapping[str, Estimate],
    at: Mapping[str, float],
    shared: Mapping[str, str],
    words: list[str],
) -> str:
    """Return the fragment; add to `words` what it cannot hold."""
    fields = {"learning_rate": f"{rate.value:.2g}"}
    name = shared.get(PARAMETRISATION, DEFAULT)
    configured = float(shared.get(EXPONENT, "0"))
    exponent = configured
    slope = moving.get("N")
    if name in ("standard", DEFAULT) and slope is not None:
        exponent = configured - slope.value
        low, high = sorted((configured - slope.low, configured - slope.high))
        words.append(
            f"lr_size_exponent was {configured:g} in these runs and should be {exponent:.2f} ({low:.2f} to"
            f" {high:.2f})."
        )
    elif sizes := [axis for axis in ("N", "width", "depth") if axis in moving]:
        words.append(
            f"With {name} the best rate moves with {' and '.join(sizes)}, so one rate does not serve all"
            " sizes: this one is for the largest."
        )
    fields["lr_size_exponent"] = f"{round(exponent, 2):g}"
    fields |= _batch_fields(moving, at, shared, words) | _length_fields(moving, at, shared)
    model = ""
    if name in RELATIVE:
        given = {"parametrisation": repr(name), "base_width": shared.get("model.base_width", "?")}
        if "model.base_depth" in shared:
            given["base_depth"] = shared["model.base_depth"]
        model = f"ModelConfig(..., {_call(given)})\n"
    elif name == "plain":
        model = "ModelConfig(..., parametrisation='plain')\n"
    return f"{model}OptimConfig({_call(fields)})"


def _batch_fields(
    moving: Mapping[str, Estimate], at: Mapping[str, float], shared: Mapping[str, str], words: list[str]
) -> dict[str, str]:
    """Return the rule for the batch: as the square root, where the best rates agree with it."""
    base = shared.get(BASE_BATCH)
    if "batch" not in moving:
        return {} if base is None else {"base_batch": base}
    slope = moving["batch"]
    if base is None and slope.low <= 0.5 <= slope.high:
        return {"base_batch": f"{at['batch']:g}"}
    ours = slope.value if base is None else 0.5 + slope.value
    words.append(
        f"The rule for the batch (base_batch) is its square root, and the best rates move as batch^"
        f"{ours:.2f}: the fragment holds at a batch of {at['batch']:g} alone."
    )
    return {}


def _length_fields(
    moving: Mapping[str, Estimate], at: Mapping[str, float], shared: Mapping[str, str]
) -> dict[str, str]:
    """Return the rule for the length: its exponent, corrected by how the best rates still move."""
    base = shared.get(BASE_TOKENS)
    configured = 0.0 if base is None else float(shared.get(HORIZON, HORIZON_EXPONENT))
    if "tokens" not in moving:
        return {} if base is None else {"base_tokens": base, "horizon_exponent": f"{configured:g}"}
    exponent = configured - moving["tokens"].value
    if exponent <= 0:  # longer runs want a higher rate, which the rule does not hold
        return {}
    return {"base_tokens": f"{at['tokens']:.0f}", "horizon_exponent": f"{exponent:.2f}"}


def _call(fields: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in fields.items())


def _count(x: float) -> str:
    return f"{x:,.0f}" if x < 1e7 else f"{x:.3g}"
