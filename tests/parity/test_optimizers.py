"""Optimizers agree with those of PyTorch."""

import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.params import Spec
from lora_jax.training.optimizers.optimizer import Hyperparams
from lora_jax.training.optimizers.sgd import SGD

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch")


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_agrees_with_pytorch(nesterov):
    rng = np.random.default_rng(0)
    start, *gradients = (rng.standard_normal((3, 4)).astype(np.float32) for _ in range(11))
    rule = SGD(momentum=0.8, nesterov=nesterov).transform({"w": Spec((("x", 3), ("y", 4)), ("x",))}, {})
    theirs = torch.nn.Parameter(torch.tensor(start))
    descent = torch.optim.SGD([theirs], lr=0.1, momentum=0.8, nesterov=nesterov)
    params = {"w": jnp.asarray(start)}
    state = rule.init(params)
    for gradient in gradients:
        theirs.grad = torch.tensor(gradient)
        descent.step()
        given = Hyperparams(0.1, 0.0, 1e9)
        updates, state = rule.update({"w": gradient}, state, params, hyperparams=given)
        params = {"w": params["w"] - 0.1 * updates["w"]}
    np.testing.assert_allclose(params["w"], theirs.detach().numpy(), rtol=1e-5, atol=1e-6)
