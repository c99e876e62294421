"""What a law is: parameters with units and bounds, and ln of the response as a function of them.

Every law works on centred logarithms. A variable x enters as ln(x / x0), where x0 is its geometric mean over
the runs. So neither an answer nor its conditioning depends on whether N counts parameters or billions.
`Parameter` says how each internal number theta_p becomes the published one, and back.

Two families give the derivatives that the solver needs: `PowerSum` (power_sum.py) in closed form, and
`Formula` (formula.py) from the formula itself. A new law is one file in lora_jax/scaling/laws/.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.ranges import ANY_NUMBER, Range

Array = NDArray[np.float64]
Kind = Literal["irreducible", "coefficient", "scale", "exponent", "location", "number", "signed"]

EXPONENT_BOUNDS = (0.01, 5.0)  # published exponents lie between .03 and 1.3
SHARE_BOUNDS = (-10.0, 3.0)  # of ln of a term, beside the ln of the smallest and of the largest response
LOCATION_BOUNDS = (-12.0, 12.0)  # of ln(d / x0): e^12 beyond the middle of the runs
MOST_STARTS = 12
EXPONENT = Range(-100, 100)  # that is given, and not fitted
POSITIVE_EXPONENT = Range(1e-6, 100)
LARGEST_LN = 690.0  # X_c = X_0 exp(c / alpha) can leave the range of a float; its ln is cut here


@dataclass(frozen=True)
class Parameter:
    """One published parameter p and how it follows from the internal parameter theta.

    The kinds are:

    - irreducible, number: p = exp(theta).
    - exponent: p = theta.
    - location, a value of the variable: p = x0 exp(theta).
    - coefficient of a term p x^-alpha: ln p = theta + sum over (variable, exponent) of alpha ln x0. For a
      `rising` term p x^alpha the sum is subtracted.
    - scale of a term (p / x)^alpha: ln p = ln x0 + theta / alpha.
    - signed, of a term p x^alpha: p = theta / x0^alpha, of either sign. Without a variable p = theta.

    Attributes:
        name: The published name.
        kind: One of the kinds above.
        over: Pairs (variable, name of the exponent). A location has (variable, "").
        unit: Unit of p.
        bounds: Bounds of theta. None takes those of the kind.
        rising: Whether the term rises with the variable.
    """

    name: str
    kind: Kind
    over: tuple[tuple[str, str], ...] = ()  # (variable, exponent's name); a location has (variable, "")
    unit: str = ""
    bounds: tuple[float, float] | None = None
    rising: bool = False

    @property
    def way(self) -> int:
        """The sign of the variables' logarithms in a coefficient: -1 for a rising term, else 1."""
        return -1 if self.rising else 1


def irreducible(name: str, unit: str = "response") -> Parameter:
    """Make the part of the response that no size removes, such as the loss E."""
    return Parameter(name, "irreducible", unit=unit)


def coefficient(name: str, **over: str) -> Parameter:
    """Make p of the term p x^-alpha. `coefficient("A", N="alpha")` is A of A N^-alpha."""
    powers = " ".join(f"{variable}^{exponent}" for variable, exponent in over.items())
    return Parameter(name, "coefficient", tuple(over.items()), f"response {powers}")


def scale(name: str, variable: str, exponent: str) -> Parameter:
    """Make p of the term (p / x)^alpha, in the unit of x."""
    return Parameter(name, "scale", ((variable, exponent),), variable)


def exponent(name: str, bounds: tuple[float, float] = EXPONENT_BOUNDS) -> Parameter:
    """Make an exponent, with bounds of its value."""
    return Parameter(name, "exponent", bounds=bounds)


def location(name: str, variable: str) -> Parameter:
    """Make a value of the variable, such as where a broken power law bends."""
    return Parameter(name, "location", ((variable, ""),), variable, LOCATION_BOUNDS)


def number(name: str, low: float, high: float, unit: str = "") -> Parameter:
    """Make a positive number between `low` and `high`."""
    return Parameter(name, "number", unit=unit, bounds=(float(np.log(low)), float(np.log(high))))


class Slopes(NamedTuple):
    """A law's value and derivatives at theta (B, P), for n runs.

    Attributes:
        log_response: ln y, (B, n).
        across: d ln y / d theta, (B, P, n).
        bend: Function of weights w (B, n). It returns the sum over runs of w_n (d2 y_n) / y_n, as (B, P, P).
        is_of_log: If True, `bend` returns the sum of w_n d2 ln y_n instead.
    """

    log_response: Array
    across: Array
    bend: Callable[[Array], Array]
    is_of_log: bool = False


@dataclass(frozen=True, kw_only=True)
class Law(ABC):
    """A law, with its formula, its parameters and the columns it reads.

    In the methods theta (..., P) is in the order of `parameters`, and features (n, V) are centred logarithms.

    Attributes:
        key: A short formula, such as "L(N,D)".
        name: The law in words.
        formula: The formula.
        reference: The source.
        parameters: The published parameters.
        variables: What the law depends on: "N" parameters, "D" training tokens, "C" FLOPs, "S" steps, "B"
            batch size, "U" unique tokens, "F" fine-tuning tokens, "P" trainable parameters, "L" loss, or a
            column by its name.
        response: The column that the law predicts.
        same_unit: Variables that must be counted in the unit of another, such as {"U": "D"}. "1" leaves them
            in their own.
        derived: More published numbers, each a function of the parameters.
        summary: The number that people quote of the law: its name, and a function of theta by name.
        usual_objective: What a fit minimises by default.
        compared: Whether a comparison of all laws includes it.
        splits_budgets: Whether it has a best N and D for a budget C = 6ND.
    """

    key: str
    name: str
    formula: str
    reference: str
    parameters: tuple[Parameter, ...]
    variables: tuple[str, ...]
    response: str = "loss"
    same_unit: Mapping[str, str] = field(default_factory=dict)
    derived: Mapping[str, Callable[[Mapping[str, Array]], Array]] = field(default_factory=dict)
    # what people quote of the law: its name, and a function of theta by name
    summary: tuple[str, Callable[[Mapping[str, Array]], Array]] | None = None
    usual_objective: str = "huber"
    compared: bool = True  # whether a comparison of laws tries it unasked
    splits_budgets: bool = True  # whether the least response at a budget C = 6ND is a question to it

    @abstractmethod
    def log_response(self, theta: Array, features: Array) -> Array:
        """Return ln of the response, (..., n). It is nan where the law is not defined at theta.

        Args:
            theta: Internal parameters, (..., P).
            features: Centred logarithms, (n, V), or (..., n, V) if each theta has its own runs.
        """

    @abstractmethod
    def slopes(self, theta: Array, features: Array) -> Slopes:
        """Return value and derivatives at theta (B, P). Features are (n, V) or (B, n, V)."""

    @abstractmethod
    def starts(
        self,
        features: Array,
        log_response: Array,
        score: Callable[[Array], Array],
        fixed: Mapping[str, float],
        keep: int = MOST_STARTS,
    ) -> Array:
        """Return points from which a fit should start, the best first, (S, P) with S <= `keep`.

        Args:
            features: Centred logarithms, (n, V).
            log_response: ln of the measured response, (n,).
            score: What the fit minimises: theta (S, P) -> (S,).
            fixed: Values of theta for the parameters that are not fitted, by name.
            keep: The most starts to return.
        """

    def holding(self, names: Collection[str]) -> "Law":
        """Return the same law in coordinates in which these published parameters are coordinates.

        A fit that holds a parameter fixed needs this. Most laws return themselves.
        """
        return self

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the published parameters, in the order of theta."""
        return tuple(p.name for p in self.parameters)

    @property
    def is_exponent(self) -> NDArray[np.bool_]:
        """Which parameters are exponents, (P,)."""
        return np.array([p.kind == "exponent" for p in self.parameters])

    def log_loss(self, theta: Array, features: Array) -> Array:
        """Return ln of the response, (..., n). For most laws the response is the loss."""
        return self.log_response(theta, features)

    def log_response_each(self, theta: Array, features: Array) -> Array:
        """Return ln of the response, (B,), of each theta (B, P) at features of its own, (B, V)."""
        return self.log_response(theta, features[:, None, :])[:, 0]

    def jacobian(self, theta: Array, features: Array) -> Array:
        """Return d ln response / d theta, (..., n, P)."""
        flat = theta.reshape(-1, theta.shape[-1])
        jacobian = np.swapaxes(self.slopes(flat, features).across, 1, 2)
        return jacobian.reshape(*theta.shape[:-1], *jacobian.shape[1:])

    def units(self, middles: Mapping[str, float]) -> dict[str, float]:
        """Return x0 of every variable: its middle, unless `same_unit` names another unit.

        Args:
            middles: A middle of each variable, such as the geometric mean over the runs.
        """
        shared = {v: 1.0 if other == "1" else middles[other] for v, other in self.same_unit.items()}
        return {**middles, **shared}

    def features(self, values: Mapping[str, Array], centre: Mapping[str, float]) -> Array:
        """Return ln(x / x0) of every variable, (n, V).

        Args:
            values: Each variable, (n,).
            centre: Its x0, the geometric mean over the runs of the fit.
        """
        return np.stack([np.log(values[v]) - np.log(centre[v]) for v in self.variables], axis=1)

    def bounds(self, log_response: Array) -> tuple[Array, Array]:
        """Return the lower and upper bounds of theta, each (P,), for runs with these ln responses (n,)."""
        share = (log_response.min() + SHARE_BOUNDS[0], log_response.max() + SHARE_BOUNDS[1])
        pairs = np.array([p.bounds or share for p in self.parameters])
        return pairs[:, 0], pairs[:, 1]

    def to_params(self, theta: Array, centre: Mapping[str, float]) -> dict[str, Array]:
        """Return the published parameters of theta (..., P), each (...,). Logarithms are clipped to +-690."""
        at = {p.name: theta[..., i] for i, p in enumerate(self.parameters)}
        return {p.name: _publish(p, at, centre) for p in self.parameters}

    def to_theta(self, params: Mapping[str, float], centre: Mapping[str, float]) -> Array:
        """Return theta (P,) of published parameters, the inverse of `to_params`.

        Raises LoraJaxError if a parameter is missing, unknown, or not positive where it must be.
        """
        self.check_names(params)
        missing = [name for name in self.names if name not in params]
        if missing:
            raise LoraJaxError(f"{self.key} lacks {', '.join(missing)}: give all of {', '.join(self.names)}.")
        return np.array([self.internal(p, params, centre) for p in self.parameters])

    def internal(self, p: Parameter, params: Mapping[str, float], centre: Mapping[str, float]) -> float:
        """Return theta of one parameter.

        Raises LoraJaxError if its exponents are not among `params`, or if it is not positive where it must
        be.
        """
        value = float(params[p.name])
        if p.kind == "exponent":
            return value
        if not value > 0 and p.kind != "signed":
            raise LoraJaxError(f"{self.key}: {p.name} is {value:g}, but it must be above 0: change it.")
        needed = [e for _, e in p.over if e and e not in params]
        if needed:
            raise LoraJaxError(
                f"{self.key}: {p.name} has the unit of a power, so it needs {', '.join(needed)} too: give it."
            )
        if p.kind == "signed":
            return value * float(np.exp(sum(float(params[e]) * float(np.log(centre[v])) for v, e in p.over)))
        ln_value = float(np.log(value))
        if p.kind == "coefficient":
            return ln_value - p.way * sum(float(params[e]) * float(np.log(centre[v])) for v, e in p.over)
        if p.kind == "scale":
            ((variable, e),) = p.over
            return float(params[e]) * (ln_value - float(np.log(centre[variable])))
        if p.kind == "location":
            return ln_value - float(np.log(centre[p.over[0][0]]))
        return ln_value

    def check_names(self, params: Collection[str]) -> None:
        """Raise LoraJaxError if a name is no parameter of the law."""
        for name in params:
            if name not in self.names:
                raise LoraJaxError(
                    f"{self.key} has no parameter {name!r}{nearest(name, self.names)}: rename it."
                )

    def check_given(self, params: Mapping[str, float]) -> None:
        """Raise LoraJaxError if a name is no parameter of the law, or if it cannot have this value."""
        self.check_names(params)
        for p in self.parameters:
            if p.name in params:
                low = p.bounds[0] if p.bounds is not None and p.kind == "exponent" else -np.inf
                within = ANY_NUMBER if p.kind != "exponent" else POSITIVE_EXPONENT if low > 0 else EXPONENT
                within.check(f"{self.key}: {p.name}", params[p.name])

    def leading(self, theta: Array) -> tuple[str, Array]:
        """Return the number that people quote of the law, with its name.

        This is `summary`, else the first exponent, else the first parameter. For theta (..., P) the number is
        (...,).
        """
        if self.summary is not None:
            name, function = self.summary
            return name, function({n: theta[..., i] for i, n in enumerate(self.names)})
        at = int(np.argmax(self.is_exponent))  # 0 where there is none
        return self.names[at], theta[..., at]


def _publish(p: Parameter, at: Mapping[str, Array], centre: Mapping[str, float]) -> Array:
    theta = at[p.name]
    if p.kind == "exponent":
        return np.asarray(theta)
    if p.kind == "signed":
        shift = np.asarray(-sum(at[e] * np.log(centre[v]) for v, e in p.over))
        return np.asarray(theta * np.exp(np.clip(shift, -LARGEST_LN, LARGEST_LN)))
    if p.kind == "coefficient":
        theta = theta + p.way * sum(at[e] * np.log(centre[v]) for v, e in p.over)
    elif p.kind == "scale":
        ((variable, e),) = p.over
        theta = np.log(centre[variable]) + theta / at[e]
    elif p.kind == "location":
        theta = np.log(centre[p.over[0][0]]) + theta
    return np.exp(np.clip(theta, -LARGEST_LN, LARGEST_LN))
