"""What a study of fine-tuning found, in sentences."""

from collections.abc import Sequence

from lora_jax.report.kit.numbers import format_count
from lora_jax.scaling.finetuning.claim_results import Claim, Found
from lora_jax.scaling.finetuning.forgetting_results import Forgetting
from lora_jax.scaling.finetuning.results import Cell, Crossing, Crossover, FinetuningReport, MethodResult
from lora_jax.scaling.finetuning.study_results import StudyReport, TaskResult

FOUND: tuple[Found, ...] = ("held", "refuted", "not told apart", "not reachable at this scale")


def spell_found(found: Found) -> str:
    """Return how pages write what became of a claim."""
    return "undecided" if found == "not told apart" else found


def headline(report: StudyReport) -> str:
    """Return which method is better on the first task, from how much data, at which size."""
    task = report.tasks[0]
    if not task.laws:
        return f"{task.task}: {task.missing[0].why if task.missing else 'no law was fitted.'}"
    return f"{task.task}: {say_winner(task.laws[0])}"


def summarise(task: TaskResult) -> list[str]:
    """Return the answer for one task, a sentence each."""
    lines = []
    if task.laws:
        lines += [say_winner(task.laws[0]), *say_crossovers(task.laws[0]), say_belief(task.laws[0])]
    lines += [f"No law {one.law}: {one.why}" for one in task.missing]
    if task.forgetting is not None:
        lines.append(say_forgetting(task.forgetting))
    if task.claims:
        lines.append(say_claims(task.claims))
    return lines


def say_winner(report: FinetuningReport) -> str:
    """Return which method has the least measured loss at how many places."""
    places: dict[tuple[tuple[str, float], ...], list[tuple[float, str]]] = {}
    for method in report.methods:
        for cell in method.cells:
            places.setdefault(_place(cell), []).append((cell.loss, method.name))
    several = [found for found in places.values() if len(found) > 1]
    if not several:
        return "No place has two methods, so there is nothing to compare."
    winners = [min(found)[1] for found in several]
    counts = sorted(set(winners), key=lambda name: -winners.count(name))
    first, rest = counts[0], counts[1:]
    where = "all" if len(winners) == winners.count(first) else f"{winners.count(first)} of"
    others = "".join(f", {name} at {winners.count(name)}" for name in rest)
    return (
        f"{first} has the lowest loss at {where} {len(winners)} places (values of {report.x} and F){others}."
        " Each method is at its best learning rate."
    )


def _place(cell: Cell) -> tuple[tuple[str, float], ...]:
    return tuple((letter, x) for letter, x in cell.at.items() if letter != "P")


def say_crossovers(report: FinetuningReport) -> list[str]:
    """Return a sentence for each pair of methods: which is better, and from which F."""
    lines = [_say_pair(pair, report.x) for pair in report.crossovers]
    apart = [method for method in report.methods if not method.takes_part]
    return [*lines, *(_say_apart(why, apart) for why in dict.fromkeys(method.apart for method in apart))]


def _say_apart(why: str | None, apart: Sequence[MethodResult]) -> str:
    names = [method.name for method in apart if method.apart == why]
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} left out of comparisons: {why}."


def _say_pair(pair: Crossover, letter: str) -> str:
    names = f"{pair.first} and {pair.second}"
    crossings = pair.crossings
    ruled = [c for c in crossings if c.found == "none" and c.above is not None]
    if crossings and len(ruled) == len(crossings) and len({c.above for c in ruled}) == 1:
        other = pair.second if ruled[0].above == pair.first else pair.first
        return f"{ruled[0].above} is better than {other} at every F and every {letter} of the runs."
    parts = [_say_crossing(c, letter) for c in crossings]
    return f"{names}: {'; '.join(parts)}." if parts else f"{names} share no place."


def _say_crossing(crossing: Crossing, letter: str) -> str:
    at = f"at {letter} {format_count(crossing.at[letter])} " if letter in crossing.at else ""
    found = crossing.finetune_tokens
    if crossing.found == "none":
        return f"{at}{crossing.above or 'neither'} is better at every F of the runs"
    if found.value is None or crossing.found == "not identified":
        return f"{at}the runs cannot tell"
    low = "no lower end" if found.low is None else format_count(found.low)
    high = "no upper end" if found.high is None else format_count(found.high)
    value = format_count(found.value)
    return (
        f"{at}{crossing.above or 'the other'} is better above F = {value} ({low} to {high}, {crossing.found})"
    )


def say_belief(report: FinetuningReport) -> str:
    """Return how many laws are to be believed."""
    laws = [method.law for method in report.methods if method.law is not None]
    if not laws:
        return "No method has a law."
    sure = sum(law.verdict.is_believed for law in laws)
    words = (
        f"You can believe {sure} of {len(laws)} laws. Be careful with the others."
        if sure < len(laws)
        else "You can believe all laws."
    )
    return f"{words} {report.form_why}"


def say_forgetting(found: Forgetting) -> str:
    """Return which method forgets least, and which ones follow a power law."""
    least = max(found.shares, key=lambda share: share.n_least_forgotten)
    law = [one.method for one in found.laws if one.follows]
    follow = (
        f"Forgetting follows a power law for {', '.join(law)}."
        if law
        else "For no method does forgetting follow a power law."
    )
    return (
        f"{least.method} forgets least at {least.n_least_forgotten} of {least.n_places} places, each method"
        " at its best learning rate."
        f" {follow}"
    )


def say_claims(claims: Sequence[Claim]) -> str:
    """Return how many parts of claims held."""
    counts = [(spell_found(found), sum(claim.found == found for claim in claims)) for found in FOUND]
    words = ", ".join(f"{n} {found}" for found, n in counts if n)
    return f"Of {len(claims)} parts of the claims of LoRA Without Regret: {words}."


def warnings_of(report: StudyReport) -> list[str]:
    """Return what makes less of it all than it seems, by task and law."""
    return [
        f"{task.task}, {law.law}: {line}" for task in report.tasks for law in task.laws for line in law.doubts
    ]
