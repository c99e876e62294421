"""Laws: exact derivatives, units, and the round trip between internal and published parameters."""

import numpy as np
import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.laws import CHINCHILLA, LAWS, Law
from lora_jax.scaling.newton import Data, objective

CENTRE = {"N": 1e6, "D": 1e8, "C": 1e14}


def _values(n: int = 7) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {v: centre * np.exp(rng.uniform(-3, 3, n)) for v, centre in CENTRE.items()}


def _theta(law: Law, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(
        law.is_exponent, rng.uniform(0.1, 0.8, len(law.names)), rng.uniform(-1, 1, len(law.names))
    )


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
def test_parameters_survive_the_round_trip(law: Law) -> None:
    theta = _theta(law)
    params = {k: float(v) for k, v in law.to_params(theta, CENTRE).items()}
    np.testing.assert_allclose(law.to_theta(params, CENTRE), theta, rtol=1e-9, atol=1e-12)


def test_published_parameters_mean_the_published_formula() -> None:
    values, params = _values(), {"E": 1.8, "A": 480.0, "alpha": 0.35, "B": 2100.0, "beta": 0.37}
    by_hand = params["E"] + params["A"] * values["N"] ** -0.35 + params["B"] * values["D"] ** -0.37
    ours = CHINCHILLA.log_loss(CHINCHILLA.to_theta(params, CENTRE), CHINCHILLA.features(values, CENTRE))
    np.testing.assert_allclose(np.exp(ours), by_hand, rtol=1e-12)
    kaplan = LAWS["L(N)"]
    theta = kaplan.to_theta({"N_c": 8.8e13, "alpha_N": 0.076}, CENTRE)
    ours = kaplan.log_loss(theta, kaplan.features(values, CENTRE))
    np.testing.assert_allclose(np.exp(ours), (8.8e13 / values["N"]) ** 0.076, rtol=1e-12)


def test_a_misspelt_parameter_gets_the_nearest_name() -> None:
    with pytest.raises(LoraJaxError, match=r"'alpa'.*nearest: 'alpha'"):
        CHINCHILLA.to_theta({"alpa": 0.3}, CENTRE)
