"""From log-likelihoods of labels to a choice: normalised by length or by a neutral prompt, and calibrated."""

from typing import Literal, get_args

import numpy as np

from lora_jax.errors import LoraJaxError, nearest

Normalise = Literal["sum", "length", "bytes", "unconditional"]
CONTENT_FREE = ("N/A", "", "[MASK]")  # arXiv 2102.09690, section 5


def normalise_scores(
    how: Normalise,
    logprobs_NC: np.ndarray,
    n_tokens_NC: np.ndarray,
    n_bytes_C: np.ndarray,
    neutral_C: np.ndarray | None = None,
) -> np.ndarray:
    """Return the score of each question's labels, (N, C) in nats and float64. The highest is the choice.

    Args:
        how: "sum" is log p(answer | question). "length" is that per token of the answer, and "bytes" per byte
            of its text. "unconditional" is log p(answer | question) - log p(answer | neutral prompt), so it
            tells how much likelier the question makes the answer (PMI_DC of Holtzman et al. 2021, arXiv
            2104.08315).
        logprobs_NC: log p(answer | question), in nats.
        n_tokens_NC: Tokens of the answers.
        n_bytes_C: Bytes of the answers' text.
        neutral_C: log p(answer | neutral prompt). Only "unconditional" needs it.

    Raises:
        LoraJaxError: `how` is none of these, or neutral_C is missing.
    """
    if how not in get_args(Normalise):
        raise LoraJaxError(f"normalise is {how!r}{nearest(how, get_args(Normalise))}: correct it.")
    if how == "length":
        return logprobs_NC / n_tokens_NC
    if how == "bytes":
        return logprobs_NC / n_bytes_C
    if how == "unconditional":
        if neutral_C is None:
            raise LoraJaxError(
                "normalise is 'unconditional', and the likelihoods after a neutral prompt are missing: give"
                " them."
            )
        return logprobs_NC - neutral_C
    return np.asarray(logprobs_NC, np.float64)


def calibrate_scores(scores_NC: np.ndarray, free_RC: np.ndarray) -> np.ndarray:
    """Calibrate log-probabilities (N, C) so that inputs without content prefer no label.

    Let p be the mean softmax of the scores in free_RC. A question's softmax is divided by p, label by label,
    and normalised to sum to 1: W = diag(p)^-1, b = 0.

    Args:
        scores_NC: Scores of the labels.
        free_RC: Scores of the labels after R prompts with the same demonstrations and an input without
            content.

    Reference: contextual calibration, Zhao et al. 2021 (arXiv 2102.09690).
    """
    free_C = log_softmax(free_RC)
    mean_C = np.logaddexp.reduce(free_C, axis=0) - np.log(len(free_C))
    return log_softmax(log_softmax(scores_NC) - mean_C)


def log_softmax(scores_NC: np.ndarray) -> np.ndarray:
    """Return the logarithm of the softmax over the last axis."""
    return scores_NC - np.logaddexp.reduce(scores_NC, axis=-1, keepdims=True)
