"""What surrounds a rule: clipping of the gradients before it, weight decay after it."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import optax

from lora_jax.params import Params, Spec
from lora_jax.training.optimizers.optimizer import Hyperparams, Scale, complete_scales


def around(
    rule: optax.GradientTransformation, specs: Mapping[str, Spec], scales: Mapping[str, Scale]
) -> optax.GradientTransformationExtraArgs:
    """Put clipping before a rule and decoupled decay after it (Loshchilov & Hutter 2019, 1711.05101).

    Args:
        rule: Turns clipped gradients into updates at unit learning rate.
        specs: The weights, by path.
        scales: Their scales, as `Optimizer.transform` takes them.

    Returns:
        The transformation. Clip norm and decay are data. So its state is the rule's, between two empty ones.
    """
    found = complete_scales(specs, scales)

    def chain(hyperparams: Hyperparams) -> optax.GradientTransformation:
        return optax.chain(
            optax.stateless(lambda gradients, _: clip(gradients, found, hyperparams.clip_norm)),
            rule,
            _decay(hyperparams.weight_decay, found),
        )

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None, **given: Any
    ) -> tuple[optax.Updates, optax.OptState]:
        return chain(given["hyperparams"]).update(updates, state, params)

    # The empty states do not depend on the clip norm and the decay.
    return optax.GradientTransformationExtraArgs(chain(Hyperparams(1.0, 0.0, 1.0)).init, update)


def clip(gradients: Any, scales: Mapping[str, Scale], clip_norm: Any) -> Params:
    """Clip all gradients together to a norm, except those whose scales put them into a group of their own."""
    norms = {None: clip_norm, **{scale.clip: scale.clip.norm for scale in scales.values() if scale.clip}}
    clipped: Params = {}
    for group, norm in norms.items():
        members = {path: gradient for path, gradient in gradients.items() if scales[path].clip == group}
        found, _ = optax.clip_by_global_norm(norm).update(members, optax.EmptyState())
        clipped |= cast(Params, found)
    return {path: clipped[path] for path in gradients}


def scale_gradients(scales: Mapping[str, Scale]) -> Callable[[Params], Params]:
    """Return a function that divides gradients by `Scale.eps`.

    For Adam this is the same as multiplying eps by it. The state is unaffected.
    """

    def divide(gradients: Params) -> Params:
        return {
            path: gradient if scales[path].eps == 1.0 else gradient / scales[path].eps
            for path, gradient in gradients.items()
        }

    return divide


def _decay(weight_decay: Any, scales: Mapping[str, Scale]) -> optax.GradientTransformation:
    """Add the decay of each weight. The state is that of optax's masked decay."""
    decays = {path: scale.decay != 0 for path, scale in scales.items()}
    if all(scales[path].decay in (0.0, 1.0) for path in scales):
        return optax.add_decayed_weights(weight_decay, decays)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        added = {
            path: update + weight_decay * scales[path].decay * params[path] if decays[path] else update
            for path, update in cast(Params, updates).items()
        }
        return added, state

    return optax.GradientTransformation(optax.add_decayed_weights(0.0, decays).init, update)
