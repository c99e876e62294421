"""Laws of the choice between labels."""

import numpy as np
import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.prompting.normalise import calibrate_scores, log_softmax, normalise_scores

RNG = np.random.default_rng(0)
LOGPROBS_NC = -RNG.gamma(2, 2, (50, 3))
N_TOKENS_NC = np.tile([1, 2, 5], (50, 1))
N_BYTES_C = np.array([4, 8, 20])
NEUTRAL_C = -RNG.gamma(2, 2, 3)


def test_a_constant_bias_of_a_label_is_cancelled_by_the_unasked_answer() -> None:
    bias_C = np.array([3.0, -1.0, 0.5])  # of a model that likes some words better, whatever is asked
    args = (N_TOKENS_NC, N_BYTES_C)
    plain = normalise_scores("unconditional", LOGPROBS_NC, *args, NEUTRAL_C)
    biased = normalise_scores("unconditional", LOGPROBS_NC + bias_C, *args, NEUTRAL_C + bias_C)
    np.testing.assert_allclose(biased, plain, atol=1e-12)
    assert (normalise_scores("sum", LOGPROBS_NC + bias_C, *args).argmax(1) != LOGPROBS_NC.argmax(1)).any()


def test_length_does_not_matter_to_the_mean_of_a_token() -> None:
    """Two labels whose every token is as likely as the other's score alike, however many tokens they have."""
    logprobs_NC = -0.7 * N_TOKENS_NC
    assert np.ptp(normalise_scores("length", logprobs_NC, N_TOKENS_NC, N_BYTES_C)) == pytest.approx(0)
    assert (normalise_scores("sum", logprobs_NC, N_TOKENS_NC, N_BYTES_C).argmax(1) == 0).all()
    by_bytes = normalise_scores("bytes", -0.1 * np.tile(N_BYTES_C, (50, 1)), N_TOKENS_NC, N_BYTES_C)
    assert np.ptp(by_bytes) == pytest.approx(0)


@pytest.mark.parametrize("n_free", [1, 3])
def test_calibration_makes_what_has_no_content_uniform(n_free: int) -> None:
    free_RC = RNG.normal(size=(n_free, 3)) * 3
    mean_C = np.exp(log_softmax(free_RC)).mean(0)
    uniform_C = np.exp(calibrate_scores(np.log(mean_C)[None], free_RC))
    np.testing.assert_allclose(uniform_C, 1 / 3, rtol=1e-12)


def test_calibration_is_the_division_of_the_paper() -> None:
    free_RC = RNG.normal(size=(3, 3))
    p_NC, free_C = np.exp(log_softmax(LOGPROBS_NC)), np.exp(log_softmax(free_RC)).mean(0)
    wanted_NC = p_NC @ np.linalg.inv(np.diag(free_C))
    wanted_NC /= wanted_NC.sum(1, keepdims=True)
    np.testing.assert_allclose(np.exp(calibrate_scores(LOGPROBS_NC, free_RC)), wanted_NC, rtol=1e-12)


def test_calibration_undoes_a_bias_that_the_free_inputs_show() -> None:
    bias_C = np.array([4.0, 0.0, -2.0])
    found = calibrate_scores(LOGPROBS_NC + bias_C, np.zeros((1, 3)) + bias_C)
    assert (found.argmax(1) == LOGPROBS_NC.argmax(1)).all()


def test_mistakes_are_named() -> None:
    with pytest.raises(LoraJaxError, match=r"normalise is 'lenght' .nearest: 'length'"):
        normalise_scores("lenght", LOGPROBS_NC, N_TOKENS_NC, N_BYTES_C)  # pyright: ignore[reportArgumentType]
    with pytest.raises(LoraJaxError, match=r"likelihoods after a neutral prompt are missing"):
        normalise_scores("unconditional", LOGPROBS_NC, N_TOKENS_NC, N_BYTES_C)
