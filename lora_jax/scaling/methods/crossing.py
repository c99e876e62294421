"""From how many examples on fine-tuning is above the best prompt: paired differences on the same test set."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lora_jax.scaling.methods.uncertainty import Array, holm, paired_difference


def add_crossings(tasks: Sequence[dict[str, Any]], rights: Mapping[str, Sequence[float]]) -> None:
    """Add `crossings` to every task that has a best prompt; see `incontext.compare_incontext`.

    rights: of every run by its id, 1 or 0 of each test example. after_holm: a difference that stands when
    all of a task are counted (Holm 1979).
    """
    for task in tasks:
        best = task["best_prompt"]
        if best is None:
            continue
        line = task["lines"][best["line"]]
        prompt = next(point for point in line["points"] if point["n"] == best["n"])
        task["crossings"] = [
            {
                "line": i, "same_base": other["base"] == line["base"], "passes_at": None,
                "points": [_compare(point, prompt, rights) for point in other["points"]],
            }
            for i, other in enumerate(task["lines"]) if other["way"] == "tune"
        ]  # fmt: skip
        points = [point for crossing in task["crossings"] for point in crossing["points"]]
        for point, stands in zip(points, holm([point["p"] for point in points]), strict=True):
            point["after_holm"] = point["distinguishable"] and stands
        for crossing in task["crossings"]:
            crossing["passes_at"] = find_passing(crossing["points"])


def find_passing(points: Sequence[Mapping[str, Any]]) -> int | None:
    """Return the least n from which on every point is told to be above; None where the last one is not."""
    passes = None
    for point in reversed(points):
        if not (point["distinguishable"] and point["value"] > 0):
            break
        passes = point["n"]
    return passes


def _compare(
    point: Mapping[str, Any], prompt: Mapping[str, Any], rights: Mapping[str, Sequence[float]]
) -> dict[str, Any]:
    """Return tuned less prompted: paired by draw where both have it, else by a mean over the prompt's draws.

    A prompt without examples has one draw, which stands beside every draw.
    """
    ours, theirs = _by_draw(point, rights), _by_draw(prompt, rights)
    shared = [draw for draw in ours if draw in theirs]
    if shared and len(theirs) > 1:
        difference_SN = np.array([ours[draw] - theirs[draw] for draw in shared])
    else:
        mean_N = np.mean(list(theirs.values()), axis=0)
        shared, difference_SN = list(ours), np.array([values - mean_N for values in ours.values()])
    found = paired_difference(difference_SN)
    low, high = found["ci95"]
    told = not low <= 0 <= high
    return {"n": point["n"], "n_draws": len(shared), **found, "distinguishable": told, "after_holm": False}


def _by_draw(point: Mapping[str, Any], rights: Mapping[str, Sequence[float]]) -> dict[int, Array]:
    pairs = zip(point["draws"], point["run_ids"], strict=True)
    return {draw: np.array(rights[run_id], float) for draw, run_id in pairs}
