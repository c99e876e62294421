"""The interval of a design by simulation: we draw losses from the law at its runs and fit them, many times.

If runs are nearly collinear, the first-order interval means nothing. A ladder's can be hundreds of times too
wide, because fits stop at positive terms. So we compare designs by simulation.
"""

from dataclasses import dataclass

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.fitting.descent import Limits
from lora_jax.scaling.fitting.newton import Data, solve
from lora_jax.scaling.fitting.problem import pose
from lora_jax.scaling.laws.law import Array
from lora_jax.scaling.planning.forecast import Forecast, student_t
from lora_jax.scaling.tables.table import make_table

NORMAL = 1.959964  # 97.5 % quantile of a normal
ITERATIONS = 300  # fits of a sound design take 10; along a ladder's flat valley thousands would not do
FINISHED_GRADIENT = 1e-6  # as in the bootstrap: with a larger one the fit was still on its way


@dataclass(frozen=True)
class Spread:
    """How far fits to simulated tables scatter at the target, in ln L.

    Attributes:
        sd: Standard deviation.
        half_width: Half the 95 % interval.
        bias: Median of the fits minus the truth.
        n: Number of simulated tables.
        n_unfinished: Tables whose fit was stopped before it converged. They count as they were. This flatters
            the design, because every fit starts at the truth.
    """

    sd: float
    half_width: float
    bias: float
    n: int
    n_unfinished: int


def simulate_spread(
    forecast: Forecast, n_params: Array, n_tokens: Array, *, n: int = 200, seed: int = 0
) -> Spread:
    """Simulate tables of a design, fit each, and measure the spread of the fits at the target.

    The losses are drawn from the best guess. Each fit takes least squares of ln L and starts at the true
    parameters. sd is the width of the central 95 % of the fits over 2 x 1.96. The half-width is sd times
    Student's t at m - P degrees of freedom, so that it compares with the predicted one.

    Args:
        forecast: The law, the target and the noise.
        n_params: N of each run, (m,).
        n_tokens: D of each run, (m,).
        n: Number of simulated tables.
        seed: Seed of the draws.

    Raises:
        LoraJaxError: There are no more runs than parameters.
    """
    law = forecast.law
    freedom = len(n_params) - len(law.names)
    if freedom < 1:
        raise LoraJaxError(
            f"{len(n_params)} runs leave the {len(law.names)} parameters of {law.key} without an interval:"
            " give more."
        )
    at = {"N": np.asarray(n_params, np.float64), "D": np.asarray(n_tokens, np.float64)}
    clean = law.log_loss(forecast.theta[0], law.features(at, forecast.centre))
    table = make_table("a design", n_params=at["N"], n_tokens=at["D"], loss=np.exp(clean))
    problem = pose(law, table, "squared")
    d, truth = problem.data, law.to_theta(forecast.params, problem.centre)
    noise = np.random.default_rng((seed, 2)).standard_normal((n, len(clean)))
    data = Data(d.law, d.features, clean + forecast.noise_sd * noise, d.weights)
    start = np.repeat(truth[None], n, axis=0)
    answer = solve(data, problem.goal, start, problem.bounds, limits=Limits(ITERATIONS))
    features = problem.features_at({"N": forecast.target.n_params, "D": forecast.target.n_tokens})
    found = law.log_loss(answer.theta, features)[:, 0]
    low, middle, high = np.quantile(found, [0.025, 0.5, 0.975])
    bias = float(middle - law.log_loss(truth, features)[0])
    sd = float(high - low) / (2 * NORMAL)
    return Spread(sd, student_t(freedom) * sd, bias, n, int((answer.grad_norm >= FINISHED_GRADIENT).sum()))
