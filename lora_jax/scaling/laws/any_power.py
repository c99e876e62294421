"""A power law of any column over any others: y = k x1^a x2^b ..., with exponents of either sign.

Tables of optima follow such laws: N*(C) = k C^a (Hoffmann et al. 2203.15556, section 3), the best learning
rate k N^a D^b and the best batch size k D^a (Step Law, 2503.04715). ln y is linear in ln k and the exponents.
So for squared residuals of ln y the fit is a linear regression, which has one minimum.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.laws.law import MOST_STARTS, Array, Law, Parameter, Slopes, exponent

NAME = "power"  # of --law; not in LAWS, because its columns are the user's
EXPONENTS = "abcdefgh"  # one a variable, in their order
STEEPEST = 50.0  # exponents published for rates, batches and optima lie between -1 and 1
WIDEST = 700.0  # of ln k, beyond which it is no float


@dataclass(frozen=True, kw_only=True)
class AnyPower(Law):
    """The law ln y = ln k + the sum of exponents times ln x. `any_power` makes it."""

    def log_response(self, theta: Array, features: Array) -> Array:
        return theta[..., :1] + np.einsum("...nv,...v->...n", features, theta[..., 1:])

    def slopes(self, theta: Array, features: Array) -> Slopes:
        ones = np.ones((*features.shape[:-2], 1, features.shape[-2]))
        across = np.concatenate([ones, np.swapaxes(features, -1, -2)], axis=-2)
        rows = np.broadcast_to(across, (len(theta), *across.shape[-2:]))

        def bend(weights: Array) -> Array:
            # ln y is linear: y bends by the products alone
            return (across * weights[:, None]) @ np.swapaxes(across, -1, -2)

        return Slopes(self.log_response(theta, features), rows, bend)

    def starts(
        self,
        features: Array,
        log_response: Array,
        score: Callable[[Array], Array],
        fixed: Mapping[str, float],
        keep: int = MOST_STARTS,
    ) -> Array:
        """Return the only start that is needed, (1, P).

        It is the regression of ln y on the parameters that are not fixed.
        """
        design = np.concatenate([np.ones((len(features), 1)), features], axis=1)
        theta = np.array([fixed.get(name, 0.0) for name in self.names])
        free = [i for i, name in enumerate(self.names) if name not in fixed]
        left = log_response - design @ theta
        theta[free] = np.linalg.lstsq(design[:, free], left, rcond=None)[0]
        return np.clip(theta, *self.bounds(log_response))[None]


def any_power(response: str, variables: Sequence[str]) -> AnyPower:
    """Make the law response = k x1^a x2^b ...

    Args:
        response: The column that the law predicts.
        variables: One to eight letters or columns.

    Raises:
        LoraJaxError: There are no variables or too many, one occurs twice, or the response is among them.
    """
    wrong = [v for i, v in enumerate(variables) if v == response or v in variables[:i]]
    if wrong or not 0 < len(variables) <= len(EXPONENTS):
        raise LoraJaxError(
            f"A power law of {response} over {', '.join(variables) or 'nothing'} was asked for: name one to"
            f" {len(EXPONENTS)} different columns by --of, none of them the response."
        )
    names = EXPONENTS[: len(variables)]
    pairs = tuple(zip(variables, names, strict=True))
    powers = " ".join(f"{_word(v)}^{e}" for v, e in pairs)
    unit = " ".join(["response", *(f"{_word(v)}^-{e}" for v, e in pairs)])
    k = Parameter("k", "coefficient", pairs, unit, (-WIDEST, WIDEST), rising=True)
    return AnyPower(
        key=f"{response}({','.join(variables)})",
        name="power law of any column",
        formula=f"{_word(response)} = k {powers}",
        reference="",
        parameters=(k, *(exponent(e, (-STEEPEST, STEEPEST)) for e in names)),
        variables=tuple(variables),
        response=response,
        usual_objective="squared",
        splits_budgets=False,
    )


def _word(column: str) -> str:
    return column if column.replace("_", "").isalnum() else f"({column})"
