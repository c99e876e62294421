"""In-context learning beside fine-tuning: scores by number of examples, and where one passes the other.

Reads plain records (prompts/*.json, runs/*.json of a results folder) and never imports jax.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.methods.crossing import add_crossings
from lora_jax.scaling.methods.incontext_words import say_incontext, warn_incontext
from lora_jax.scaling.methods.uncertainty import CROSSED, PAIRED, crossed_mean

KIND = "in-context learning against fine-tuning"  # of the document
# GPT-3, accuracy in percent: few-shot against fine-tuned, as Hu et al. 2021 (arXiv 2106.09685) and Brown et
# al. 2020 (arXiv 2005.14165) give them: the form of what is measured here, on a model 1,300 times the size.
PUBLISHED = (
    {"task": "MNLI-m", "few_shot": 40.6, "fine_tuned": 89.5},
    {"task": "RTE", "few_shot": 69.0, "fine_tuned": 85.4},
)
Record = Mapping[str, Any]
Line = dict[str, Any]


def compare_incontext(prompts: Sequence[Record], runs: Sequence[Record]) -> dict[str, Any]:
    """Return the content of incontext.json.

        kind, n_prompts, n_runs, n_diverged, published, estimator {score, difference}: in words
        tasks [{
            task (its label), n_test, chance (1 / labels)
            lines [{
                way ("prompt" or "tune"), base, label ("k-shot", "k-shot, calibrated", or the method), head,
                points [{
                    n (examples), is_all, run_ids, draws, score {value, se, ci95, ...}, by_draw [accuracy],
                    rate (null: a prompt), at_edge, n_steps, n_shots (null: tuned),
                    learn {tokens, seconds}, answer {tokens, seconds}: mean tokens that went through the
                    model and median seconds over draws, null where not timed
                }], ascending
            }]
            best_prompt {line (index), n, score} or null
            crossings [{
                line (index), same_base, passes_at (n or null: nowhere told apart and above from there on)
                points [{n, n_draws, value, se, ci95, p, distinguishable, after_holm}]
            }]
        }]
        verdict [sentences], warnings [sentences]

    A point's score covers draws and test examples. crossings: a line's accuracy less the best prompt's,
    paired by test example and draw. The best prompt is chosen by its test score, which flatters it:
    fine-tuning that is above it is so all the more. Raises LoraJaxError where there is nothing to compare.
    """
    found = [*map(_read_prompt, prompts)]
    shots = [half for both in found for half in both]
    tunings = [_read_run(record) for record in runs]
    finished = [run for run in tunings if run["rights"]]
    if not shots and not finished:
        raise LoraJaxError("there is no finished run to compare: run `./launch.sh incontext` first.")
    labels = dict.fromkeys(run["task"] for run in (*shots, *finished))
    tasks = [_compare_task(label, shots, tunings) for label in labels]
    document: dict[str, Any] = {
        "kind": KIND, "n_prompts": len(prompts), "n_runs": len(runs),
        "n_diverged": len(tunings) - len(finished), "published": list(PUBLISHED),
        "estimator": {"score": CROSSED, "difference": PAIRED}, "tasks": tasks,
    }  # fmt: skip
    add_crossings(tasks, {run["run_id"]: run["rights"] for run in (*shots, *finished)})
    return document | {"verdict": say_incontext(document), "warnings": warn_incontext(document, tunings)}


def _read_prompt(record: Record) -> list[dict[str, Any]]:
    """Return one entry for the plain way, and one for the calibrated where it was scored."""
    config, halves = record["config"], []
    for name, label in (("plain", "k-shot"), ("calibrated", "k-shot, calibrated")):
        answered = record[name]
        if answered is None:
            continue
        halves.append({
            "run_id": f"{record['run_id']}:{name}", "task": config["label"], "base": config["base"],
            "way": "prompt", "label": label, "head": False, "n": config["k"], "is_all": False,
            "draw": config["draw"], "rate": None, "dev": None, "rights": answered["rights"],
            "n_steps": None, "n_shots": record["n_shots"], "notes": record["notes"],
            "n_labels": len(config["task"]["prompt"]["answers"]),
            "learn": {"tokens": 0, "seconds": 0.0},
            "answer": {"tokens": answered["n_tokens_run"], "seconds": answered["seconds"]},
        })  # fmt: skip
    return halves


def _read_run(record: Record) -> dict[str, Any]:
    """Return one fine-tuning run; without rights where it diverged. n: rows, of all examples too."""
    tuning, said = record["finetuning"], record["data"]["in_context"]
    answered = said.get("answered")
    step = tuning["seconds_per_step"]
    answer = {"tokens": record["data"]["encoded"]["test"]["tokens"], "seconds": None}
    if answered is not None:
        answer = {"tokens": answered["n_tokens_run"], "seconds": answered["seconds"]}
    metric = "accuracy" if said["head"] else "loss"
    return {
        "run_id": record["run_id"], "task": said["label"], "base": tuning["base"], "way": "tune",
        "label": tuning["label"], "head": said["head"], "is_all": said["n"] is None,
        "n": record["data"]["splits"]["train"]["examples"], "draw": said["draw"],
        "rate": record["learning_rate"], "dev": (tuning["dev"].get(metric) or {}).get("value"),
        "rights": tuning["test_values"] if record["status"] == "done" else [],
        "n_steps": record["n_steps"], "n_shots": None, "notes": [], "n_labels": len(record["data"]["labels"]),
        "learn": {
            "tokens": record["n_tokens"], "seconds": None if step is None else step * record["n_steps"],
        },
        "answer": answer,
    }  # fmt: skip


def _compare_task(label: str, shots: Iterable[dict], tunings: Iterable[dict]) -> dict[str, Any]:
    runs = [run for run in (*shots, *tunings) if run["task"] == label]
    sizes = {len(run["rights"]) for run in runs if run["rights"]}
    if len(sizes) > 1 or min(sizes) < 2:
        raise LoraJaxError(
            f"the runs of {label} were tested on {' and '.join(map(str, sorted(sizes)))} examples, wanted the"
            " same ones for all, and two at least: run them again into a folder of their own."
        )
    by_line: dict[tuple, list[dict]] = {}
    for run in runs:
        by_line.setdefault((run["way"], run["base"], run["label"], run["head"]), []).append(run)
    lines = [_make_line(members) for members in by_line.values()]
    lines = [line for line in lines if line["points"]]
    best = [
        {"line": i, "n": point["n"], "score": point["score"]}
        for i, line in enumerate(lines) if line["way"] == "prompt" for point in line["points"]
    ]  # fmt: skip
    return {
        "task": label, "n_test": min(sizes), "chance": 1 / runs[0]["n_labels"],
        "lines": lines, "crossings": [],
        "best_prompt": max(best, key=lambda one: (one["score"]["value"], -one["n"]), default=None),
    }  # fmt: skip


def _make_line(members: Sequence[dict]) -> Line:
    first = members[0]
    by_n: dict[int, list[dict]] = {}
    for run in members:
        by_n.setdefault(run["n"], []).append(run)
    points = [point for n in sorted(by_n) if (point := _make_point(n, by_n[n])) is not None]
    return {name: first[name] for name in ("way", "base", "label", "head")} | {"points": points}


def _make_point(n: int, runs: Sequence[dict]) -> dict[str, Any] | None:
    """Return one number of examples: of several rates that of the best dev score with the first draw."""
    rate, at_edge = _choose_rate(runs)
    chosen = sorted(
        (run for run in runs if run["rate"] == rate and run["rights"]), key=lambda run: run["draw"]
    )
    if not chosen:
        return None
    rights_SN = np.array([run["rights"] for run in chosen], float)
    return {
        "n": n, "is_all": chosen[0]["is_all"], "run_ids": [run["run_id"] for run in chosen],
        "draws": [run["draw"] for run in chosen], "score": crossed_mean(rights_SN, (0.0, 1.0)),
        "by_draw": rights_SN.mean(axis=1).tolist(), "rate": rate, "at_edge": at_edge,
        "n_steps": chosen[0]["n_steps"],
        "n_shots": None if chosen[0]["n_shots"] is None else _mean(run["n_shots"] for run in chosen),
        "learn": _typical_cost(run["learn"] for run in chosen),
        "answer": _typical_cost(run["answer"] for run in chosen),
        "notes": list(dict.fromkeys(note for run in chosen for note in run["notes"])),
    }  # fmt: skip


def _choose_rate(runs: Sequence[dict]) -> tuple[float | None, str | None]:
    if runs[0]["way"] == "prompt":
        return None, None
    first = min(run["draw"] for run in runs)
    tried = sorted((run for run in runs if run["draw"] == first), key=lambda run: run["rate"])
    scored = [run for run in tried if run["dev"] is not None and run["rights"]]
    if not scored:
        return None, None
    sign = -1 if runs[0]["head"] else 1  # accuracy, or the loss of the answers' words
    best = min(scored, key=lambda run: (sign * run["dev"], run["rate"]))["rate"]
    if len(tried) == 1:
        return best, "only"
    return best, {tried[0]["rate"]: "lowest", tried[-1]["rate"]: "highest"}.get(best)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _typical_cost(costs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return mean tokens and median seconds: the first draw may have compiled what the others found there."""
    found = list(costs)
    timed = [cost["seconds"] for cost in found if cost["seconds"] is not None]
    return {
        "tokens": _mean(cost["tokens"] for cost in found),
        "seconds": float(np.median(timed)) if timed else None,
    }
