"""Laws: exact derivatives, units, and the round trip between internal and published parameters."""

import numpy as np
import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.fitting.newton import Data
from lora_jax.scaling.fitting.objectives import objective
from lora_jax.scaling.laws import CHINCHILLA, LAWS, find_law
from lora_jax.scaling.laws.law import Law

CENTRE = {"N": 1e6, "D": 1e8, "C": 1e14, "S": 1e4, "B": 64.0, "U": 1e8, "F": 1e4, "P": 1e5, "L": 1.0}


def _values(n: int = 7) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    values = {v: centre * np.exp(rng.uniform(-3, 3, n)) for v, centre in CENTRE.items()}
    # at most as many unique tokens as tokens, and losses of a size at which an error rate has a meaning
    return {**values, "U": values["D"] / rng.uniform(1, 9, n), "L": rng.uniform(2, 4, n)}


def _theta(law: Law, seed: int = 0) -> np.ndarray:
    """Parameters inside the bounds of every law; a downstream error has an eps above its gain."""
    rng = np.random.default_rng(seed)
    theta = np.where(
        law.is_exponent, rng.uniform(0.1, 0.8, len(law.names)), rng.uniform(-1, 1, len(law.names))
    )
    return theta - np.array([0.0, 1.0, 0.0]) if law.key == "Err(L)" else theta


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_jacobian_is_the_finite_difference(law: Law) -> None:
    features, theta, h = law.features(_values(), CENTRE), _theta(law), 1e-6
    numeric = [
        (law.log_loss(theta + h * e, features) - law.log_loss(theta - h * e, features)) / (2 * h)
        for e in np.eye(len(theta))
    ]
    np.testing.assert_allclose(law.jacobian(theta, features), np.stack(numeric, -1), atol=1e-8)


@pytest.mark.parametrize("name", ["squared", "huber"])
@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_hessian_is_the_finite_difference_of_the_gradient(law: Law, name: str) -> None:
    features, theta, h = law.features(_values(), CENTRE), _theta(law), 1e-6
    measured = law.log_loss(_theta(law, 1), features)
    data, goal = Data(law, features, measured, np.linspace(0.5, 1.5, 7)), objective(name)
    value, gradient, hessian, _ = (part[0] for part in data.derivatives(theta[None], goal))
    steps = np.concatenate([theta + h * np.eye(len(theta)), theta - h * np.eye(len(theta))])
    v, g, *_ = data.derivatives(steps, goal)
    plus, minus = slice(None, len(theta)), slice(len(theta), None)
    np.testing.assert_allclose(gradient, (v[plus] - v[minus]) / (2 * h), rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(hessian, (g[plus] - g[minus]) / (2 * h), rtol=1e-5, atol=1e-7)
    assert value == pytest.approx(data.value(theta[None], goal)[0])


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_members_may_count_in_units_of_their_own(law: Law) -> None:
    """A shift of a member's features is the member with shifted features."""
    features, goal = law.features(_values(), CENTRE), objective("huber")
    measured, weights = law.log_loss(_theta(law, 1), features), np.linspace(0.5, 1.5, 7)
    theta = np.stack([_theta(law), _theta(law, 2)])
    shift = np.random.default_rng(3).uniform(-0.3, 0.3, (2, len(law.variables)))
    together = Data(law, features, measured, weights, shift).derivatives(theta, goal)
    for i in range(2):
        alone = Data(law, features + shift[i], measured, weights).derivatives(theta[i : i + 1], goal)
        for ours, theirs in zip(together, alone, strict=True):
            np.testing.assert_allclose(ours[i], theirs[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_parameters_survive_the_round_trip(law: Law) -> None:
    theta = _theta(law)
    params = {k: float(v) for k, v in law.to_params(theta, CENTRE).items()}
    np.testing.assert_allclose(law.to_theta(params, CENTRE), theta, rtol=1e-9, atol=1e-12)


def test_published_parameters_mean_the_published_formula() -> None:
    values, params = _values(), {"E": 1.8, "A": 480.0, "alpha": 0.35, "B": 2100.0, "beta": 0.37}
    by_hand = params["E"] + params["A"] * values["N"] ** -0.35 + params["B"] * values["D"] ** -0.37
    ours = CHINCHILLA.log_loss(CHINCHILLA.to_theta(params, CENTRE), CHINCHILLA.features(values, CENTRE))
    np.testing.assert_allclose(np.exp(ours), by_hand, rtol=1e-12)
    kaplan = LAWS["power-n"]
    theta = kaplan.to_theta({"N_c": 8.8e13, "alpha_N": 0.076}, CENTRE)
    ours = kaplan.log_loss(theta, kaplan.features(values, CENTRE))
    np.testing.assert_allclose(np.exp(ours), (8.8e13 / values["N"]) ** 0.076, rtol=1e-12)


def test_a_law_has_a_name_a_key_and_one_file() -> None:
    assert find_law("chinchilla") is CHINCHILLA is find_law("L(N,D)")
    with pytest.raises(LoraJaxError, match=r"'chinchila'.*nearest: 'chinchilla'"):
        find_law("chinchila")


# Each formula once more, as the paper prints it, from published parameters and variables.
PRINTED = {
    "power-c-floor": lambda p, x: p["E"] + (p["C_c"] / x["C"]) ** p["alpha_C"],
    "kaplan": lambda p, x: (
        ((p["N_c"] / x["N"]) ** (p["alpha_N"] / p["alpha_D"]) + p["D_c"] / x["D"]) ** p["alpha_D"]
    ),
    "kaplan-steps": lambda p, x: (p["N_c"] / x["N"]) ** p["alpha_N"] + (p["S_c"] / x["S"]) ** p["alpha_S"],
    "steps-batch": lambda p, x: (
        p["E"]
        + p["A_N"] / x["N"] ** p["alpha"]
        + p["A_S"] / x["S"] ** p["beta"]
        + p["A_B"] / x["B"] ** p["gamma"]
    ),
    "critical-batch": lambda p, x: p["B_star"] / x["L"] ** p["slope"],
    "shared-exponent": lambda p, x: (
        p["E"] + (p["A"] * x["N"] ** -p["alpha"] + p["B"] * x["D"] ** -p["beta"]) ** p["gamma"]
    ),
    "over-training": lambda p, x: (
        p["E"] + p["a"] * x["N"] ** -p["eta"] + p["b"] * (x["D"] / x["N"] * x["N"]) ** -p["eta"]
    ),
    "downstream-error": lambda p, x: p["eps"] - p["k"] * np.exp(-p["gamma"] * x["L"]),
    "broken-n": lambda p, x: (
        p["E"]
        + p["b"] * x["N"] ** -p["c0"] * (1 + (x["N"] / p["d1"]) ** (1 / p["f1"])) ** (-p["c1"] * p["f1"])
    ),
    "finetuning-p": lambda p, x: p["E"] + p["A"] * x["P"] ** -p["alpha"] * x["F"] ** -p["beta"],
    "rectified": lambda p, x: p["E"] + p["B"] / (p["D_l"] + x["F"] ** p["beta"]),
    "farseer": lambda p, x: (
        np.exp(p["a3"] * x["N"] ** p["gamma"] + p["b3"])
        + np.exp(p["a2"] * x["N"] ** p["beta"] + p["b2"])
        * (x["D"] / CENTRE["D"]) ** -np.exp(p["a1"] * x["N"] ** p["alpha"] + p["b1"])
    ),
}


@pytest.mark.parametrize("name", PRINTED)
def test_the_formula_is_the_printed_one(name: str) -> None:
    law, values = LAWS[name], _values()
    theta = _theta(law)
    params = {k: float(v) for k, v in law.to_params(theta, CENTRE).items()}
    ours = np.exp(law.log_response(theta, law.features(values, CENTRE)))
    np.testing.assert_allclose(ours, PRINTED[name](params, values), rtol=1e-9)


def test_repeated_data_is_worth_what_the_paper_says() -> None:
    """2305.16264, equations 5 and 6, with N_opt(U) found by search."""
    p = {"E": 1.87, "A": 521.0, "alpha": 0.353, "B": 1488.0, "beta": 0.3, "R_D_star": 15.4, "R_N_star": 5.3}
    law, values = LAWS["data-constrained"], _values()
    values["N"] = np.geomspace(1e5, 1e9, 7)
    sizes = np.geomspace(1e2, 1e12, 2_000_001)
    for i in range(7):
        n, d, u = values["N"][i], values["D"][i], values["U"][i]
        # C = 6ND is optimal at (N_opt, U) where alpha A N^-alpha = beta B U^-beta
        gap = p["alpha"] * p["A"] * sizes ** -p["alpha"] - p["beta"] * p["B"] * u ** -p["beta"]
        used = min(sizes[np.abs(gap).argmin()], n)
        size = used + used * p["R_N_star"] * (1 - np.exp(-(n / used - 1) / p["R_N_star"]))
        data = u + u * p["R_D_star"] * (1 - np.exp(-(d / u - 1) / p["R_D_star"]))
        by_hand = p["E"] + p["A"] * size ** -p["alpha"] + p["B"] * data ** -p["beta"]
        row = {v: x[i : i + 1] for v, x in values.items()}
        ours = np.exp(law.log_response(law.to_theta(p, CENTRE), law.features(row, CENTRE)))
        assert ours[0] == pytest.approx(by_hand, rel=1e-4)


def test_a_misspelt_parameter_gets_the_nearest_name() -> None:
    with pytest.raises(LoraJaxError, match=r"'alpa'.*nearest: 'alpha'"):
        CHINCHILLA.to_theta({"alpa": 0.3}, CENTRE)


def test_critical_batch_splits_a_run_as_kaplan_says() -> None:
    """2001.08361: at B = B_crit a run takes twice the least steps and twice the least compute."""
    from lora_jax.scaling.laws.kaplan import minimal_flops, minimal_steps

    batch, critical = np.array([1e3, 1e5, 1e7]), np.full(3, 1e5)
    steps = minimal_steps(np.full(3, 100.0), batch, critical)
    flops = minimal_flops(np.full(3, 1e12), batch, critical)
    np.testing.assert_allclose([steps[1], flops[1]], [50.0, 5e11])
    assert steps[2] == pytest.approx(100, rel=0.02)  # far above the critical batch no step is saved
    assert flops[0] == pytest.approx(1e12, rel=0.02)  # far below it no compute is


def test_farseer_is_one_law_in_both_its_coordinates() -> None:
    """Derivatives and parameters of (a, g, b) and of slope and value at the middle, also next to g = 0."""
    law = LAWS["farseer"]
    plain = law.holding(["a1"])
    assert plain is not law
    values = _values()
    params = {
        "a1": -1.6656,
        "alpha": 0.0459,
        "b1": 3.1333,
        "a2": 230.73,
        "beta": -0.1729,
        "b2": -1.5442,
        "a3": -0.0625,
        "gamma": 0.13,
        "b3": 0.1285,
    }
    for exponent in (0.0459, 1e-4):
        params["alpha"] = exponent
        one, other = (
            which.log_response(which.to_theta(params, CENTRE), which.features(values, {**CENTRE, "D": 1.0}))
            for which in (law, plain)
        )
        np.testing.assert_allclose(one, other, rtol=1e-9)
    theta = plain.to_theta(params, CENTRE)
    features = plain.features(values, CENTRE)
    numeric = [
        (plain.log_loss(theta + 1e-6 * e, features) - plain.log_loss(theta - 1e-6 * e, features)) / 2e-6
        for e in np.eye(9)
    ]
    np.testing.assert_allclose(plain.jacobian(theta, features), np.stack(numeric, -1), rtol=1e-5, atol=1e-6)
