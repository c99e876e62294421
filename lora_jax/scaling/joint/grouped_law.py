"""One law for several groups of runs, such as two recipes or three sizes. Groups can share parameters.

Each group has parameters of its own, such as "alpha[2]" of the second, beside the shared ones. To the solver
this is a law like any other. So the groups are fitted together, with one noise that the residuals of all
groups tell. A bootstrap moves a shared parameter in all groups at once.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lora_jax.scaling.laws.law import MOST_STARTS, Array, Law, Parameter, Slopes
from lora_jax.scaling.laws.power_sum import best_starts

GROUP = "group"  # the column that numbers the groups, from 1
PLACES = 5  # of a shared parameter at which starts are sought


@dataclass(frozen=True, kw_only=True)
class GroupedLaw(Law):
    """A law with parameters for each group. `grouped` makes it.

    Attributes:
        base: The law of one group.
        places: For each group, where the parameters of `base` are among those of this law.
    """

    base: Law
    places: tuple[tuple[int, ...], ...]

    def features(self, values: Mapping[str, Array], centre: Mapping[str, float]) -> Array:
        """Return ln(x / x0) of every variable of the base, and the number of the group, (n, V + 1)."""
        return np.concatenate([self.base.features(values, centre), np.asarray(values[GROUP])[:, None]], 1)

    def log_response(self, theta: Array, features: Array) -> Array:
        shape = np.broadcast_shapes(theta.shape[:-1], features.shape[:-2])
        found = np.empty((*shape, features.shape[-2]))
        for rows, place in self._parts(features):
            found[..., rows] = self.base.log_response(theta[..., place], features[..., rows, :-1])
        return found

    def log_response_each(self, theta: Array, features: Array) -> Array:
        found = np.empty(len(theta))
        for number, place in enumerate(self.places, 1):
            rows = np.flatnonzero(features[:, -1] == number)
            found[rows] = self.base.log_response_each(theta[rows][:, place], features[rows, :-1])
        return found

    def slopes(self, theta: Array, features: Array) -> Slopes:
        size, n = len(theta), features.shape[-2]
        log_response, across = np.empty((size, n)), np.zeros((size, len(self.names), n))
        parts = []
        for rows, place in self._parts(features):
            part = self.base.slopes(theta[:, place], features[..., rows, :-1])
            log_response[:, rows] = part.log_response
            across[np.ix_(np.arange(size), np.array(place), rows)] = part.across
            parts.append((rows, place, part))

        def bend(weights: Array) -> Array:
            bent = np.zeros((size, len(self.names), len(self.names)))
            for rows, place, part in parts:
                bent[np.ix_(np.arange(size), np.array(place), np.array(place))] += part.bend(weights[:, rows])
            return bent

        return Slopes(log_response, across, bend, parts[0][2].is_of_log)

    def starts(
        self,
        features: Array,
        log_response: Array,
        score: Callable[[Array], Array],
        fixed: Mapping[str, float],
        keep: int = MOST_STARTS,
    ) -> Array:
        """Return the best joint starts, (S, P).

        They are those of each group, with shared parameters held at several values.
        """
        parts = self._parts(features)
        held = [
            {
                n: fixed[self.names[i]]
                for n, i in zip(self.base.names, place, strict=True)
                if self.names[i] in fixed
            }
            for _, place in parts
        ]
        own = [
            self._starts_of(features[rows, :-1], log_response[rows], mine, keep)
            for (rows, _), mine in zip(parts, held, strict=True)
        ]
        shared = [i for i, n in enumerate(self.base.names) if self._is_shared(i) and n not in held[0]]
        thetas = [self._join([starts[min(k, len(starts) - 1)] for starts in own]) for k in range(keep)]
        for places in self._shared_places(own, shared):
            fixed_here = [
                {**mine, **{self.base.names[i]: x for i, x in zip(shared, places, strict=True)}}
                for mine in held
            ]
            best = [
                self._starts_of(features[rows, :-1], log_response[rows], mine, 1)[0]
                for (rows, _), mine in zip(parts, fixed_here, strict=True)
            ]
            thetas.append(self._join(best))
        return best_starts(np.array(thetas), score, keep)

    def group_theta(self, theta: Array, number: int) -> Array:
        """Return the parameters of one group, (..., P of the base). Groups are numbered from 1."""
        return theta[..., self.places[number - 1]]

    def _parts(self, features: Array) -> list[tuple[np.ndarray, list[int]]]:
        """Return the rows of each group that has some, and where its parameters stand."""
        group = features.reshape(-1, *features.shape[-2:])[0, :, -1]
        found = [(np.flatnonzero(group == k), list(place)) for k, place in enumerate(self.places, 1)]
        return [(rows, place) for rows, place in found if len(rows)]

    def _starts_of(
        self, features: Array, log_response: Array, fixed: Mapping[str, float], keep: int
    ) -> Array:
        def score(theta: Array) -> Array:
            return ((self.base.log_response(theta, features) - log_response) ** 2).sum(-1)

        return self.base.starts(features, log_response, score, fixed, keep)

    def _is_shared(self, index: int) -> bool:
        return len({place[index] for place in self.places}) == 1 and len(self.places) > 1

    def _shared_places(self, own: Sequence[Array], shared: Sequence[int]) -> list[tuple[float, ...]]:
        """Return values of the shared parameters to start from, between those that the groups want."""
        if not shared:
            return []
        wanted = np.array([starts[0][shared] for starts in own])
        shares = np.linspace(0, 1, PLACES)[:, None]
        return [tuple(row) for row in wanted.min(0) + shares * (wanted.max(0) - wanted.min(0))]

    def _join(self, thetas: Sequence[Array]) -> Array:
        """Return one theta (P,) of the groups' own; of what they share the mean."""
        total, count = np.zeros(len(self.names)), np.zeros(len(self.names))
        for place, theta in zip(self.places, thetas, strict=True):
            total[list(place)] += theta
            count[list(place)] += 1
        return total / count


def grouped(base: Law, n_groups: int, shared: Collection[str] = ()) -> GroupedLaw:
    """Make a law of several groups.

    Args:
        base: The law of each group.
        n_groups: How many there are, numbered from 1 in the column "group".
        shared: Parameters that are the same in all groups.

    Raises:
        LoraJaxError: `base` has no parameter of such a name.
    """
    base.check_names(shared)
    parameters: list[Parameter] = [p for p in base.parameters if p.name in shared]
    at = {p.name: i for i, p in enumerate(parameters)}
    places = []
    for number in range(1, n_groups + 1):
        names = {p.name: p.name if p.name in shared else f"{p.name}[{number}]" for p in base.parameters}
        for p in base.parameters:
            if p.name not in shared:
                at[names[p.name]] = len(parameters)
                over = tuple((v, names.get(e, e)) for v, e in p.over)
                parameters.append(replace(p, name=names[p.name], over=over))
        places.append(tuple(at[names[p.name]] for p in base.parameters))
    return GroupedLaw(
        key=base.key,
        name=base.name,
        formula=base.formula,
        reference=base.reference,
        parameters=tuple(parameters),
        variables=(*base.variables, GROUP),
        response=base.response,
        same_unit=base.same_unit,
        usual_objective=base.usual_objective,
        base=base,
        places=tuple(places),
    )
