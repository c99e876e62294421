"""Scores of predicted classes: accuracy and F1."""

from collections.abc import Sequence

import numpy as np

from lora_jax.metrics.intervals import Score, check_alike, interval

Classes = Sequence[int] | np.ndarray


def accuracy(predicted: Classes, labels: Classes) -> Score:
    """Return the share of right predictions, with Wilson's interval."""
    check_alike(predicted, labels, "predictions", "labels")
    return interval(np.asarray(predicted) == np.asarray(labels))


def f1(predicted: Classes, labels: Classes, *, positive: int | None = None) -> Score:
    """Return F1 with its interval by bootstrap.

    F1 = 2 TP / (2 TP + FP + FN). It is 0 if the class neither occurs nor is predicted.

    Args:
        predicted: The predicted classes.
        labels: The true classes.
        positive: The class whose F1 is wanted. None takes the mean over the classes that occur (macro F1).

    Raises:
        LoraJaxError: The two differ in length, or are empty.
    """
    check_alike(predicted, labels, "predictions", "labels")
    predicted_N, labels_N = np.asarray(predicted), np.asarray(labels)
    classes_C = np.union1d(predicted_N, labels_N) if positive is None else np.array([positive])
    is_predicted_NC = predicted_N[:, None] == classes_C
    is_label_NC = labels_N[:, None] == classes_C
    hit_NC = (is_predicted_NC & is_label_NC).astype(np.float64)
    either_NC = is_predicted_NC.astype(np.float64) + is_label_NC  # sums to 2 TP + FP + FN

    def score(counts_RN: np.ndarray) -> np.ndarray:
        either_RC = counts_RN @ either_NC
        f1_RC = 2 * (counts_RN @ hit_NC) / np.maximum(either_RC, 1)
        # The mean is over classes that occur among the examples counted. A draw may miss a rare class.
        n_classes_R = len(classes_C) if positive is not None else (either_RC > 0).sum(axis=1)
        return f1_RC.sum(axis=1) / n_classes_R

    return interval(score, len(labels_N))
