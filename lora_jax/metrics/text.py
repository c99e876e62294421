"""Scores of texts against references: exact match, token F1, BLEU, ROUGE."""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.metrics.intervals import CountedScore, Score, check_alike, interval

# The references of each text: one, or several. Of several, the best counts.
References = Sequence[str | Sequence[str]]
ROUGES = ("rouge1", "rouge2", "rougeL", "rougeLsum")
N_GRAMS = 4  # length of BLEU's longest n-grams


def exact_match(hypotheses: Sequence[str], references: References, *, normalise: bool = False) -> Score:
    """Return the share of texts that equal a reference. White space at the ends and its amount do not count.

    Args:
        hypotheses: The texts.
        references: The references of each text.
        normalise: Whether case, punctuation and articles do not count either (SQuAD, arXiv 1606.05250).
    """
    return interval(exact_match_values(hypotheses, references, normalise=normalise))


def exact_match_values(
    hypotheses: Sequence[str], references: References, *, normalise: bool = False
) -> np.ndarray:
    """Return whether each text equals a reference, bool (N,)."""
    clean: Callable[[str], str] = normalise_answer if normalise else lambda text: " ".join(text.split())
    pairs = pair_up(hypotheses, references)
    return np.array([clean(text) in {clean(r) for r in refs} for text, refs in pairs])


def token_f1(hypotheses: Sequence[str], references: References) -> Score:
    """Return the mean F1 of the words that a text shares with its best reference, both normalised (SQuAD)."""
    return interval(token_f1_values(hypotheses, references))


def token_f1_values(hypotheses: Sequence[str], references: References) -> np.ndarray:
    """Return the F1 of each text, float64 (N,)."""
    pairs = pair_up(hypotheses, references)
    return np.array([max(_overlap_f1(text, r) for r in refs) for text, refs in pairs])


def bleu(hypotheses: Sequence[str], references: References) -> Score:
    """Return corpus BLEU, 0 to 100 (Papineni et al.

    2002), by sacrebleu's defaults. The interval is a bootstrap.
    """
    return interval(bleu_of_counts(hypotheses, references), len(hypotheses))


def bleu_of_counts(hypotheses: Sequence[str], references: References) -> CountedScore:
    """Return corpus BLEU as a function of how often each text counts, for `difference`.

    A text may have one or more references. Each text is read once. The corpus score is made of its n-gram
    matches and lengths.
    """
    from sacrebleu.metrics.bleu import BLEU

    # effective_order changes only the score of a single sentence, which we do not use.
    metric = BLEU(effective_order=True)
    found = [metric.sentence_score(text, refs) for text, refs in pair_up(hypotheses, references)]
    statistics_NS = np.array([[*s.counts, *s.totals, s.sys_len, s.ref_len] for s in found], np.float64)

    def score(counts_RN: np.ndarray) -> np.ndarray:
        sums_RS = np.rint(counts_RN @ statistics_NS).astype(np.int64).tolist()
        return np.array([_score_sums(sums) for sums in sums_RS])

    def _score_sums(sums: list[int]) -> float:
        hits, totals = sums[:N_GRAMS], sums[N_GRAMS : 2 * N_GRAMS]
        return BLEU.compute_bleu(hits, totals, sums[-2], sums[-1], smooth_method="exp").score

    return score


def rouge(
    hypotheses: Sequence[str], references: References, *, kind: str = "rougeL", stemmer: bool = False
) -> Score:
    """Return the mean F-measure of ROUGE, 0 to 1, with the best reference, as rouge-score computes it.

    Args:
        hypotheses: The texts.
        references: The references of each text.
        kind: One of ROUGES. "rougeLsum" takes line ends for ends of sentences.
        stemmer: Whether to use Porter's stemmer, for English only.

    Raises:
        LoraJaxError: There is no such kind, or the lists do not pair.

    Reference: Lin 2004.
    """
    return interval(rouge_values(hypotheses, references, kind=kind, stemmer=stemmer))


def rouge_values(
    hypotheses: Sequence[str], references: References, *, kind: str = "rougeL", stemmer: bool = False
) -> np.ndarray:
    """Return ROUGE of each text, float64 (N,), for `difference`."""
    if kind not in ROUGES:
        raise LoraJaxError(f"There is no score {kind!r}{nearest(kind, ROUGES)}: correct its name.")
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer([kind], use_stemmer=stemmer)
    pairs = pair_up(hypotheses, references)
    return np.array([scorer.score_multi(refs, text)[kind].fmeasure for text, refs in pairs])


def pair_up(hypotheses: Sequence[str], references: References) -> list[tuple[str, tuple[str, ...]]]:
    """Return each text with its references, all stripped.

    Raises:
        LoraJaxError: The numbers differ, or a text has no reference.
    """
    check_alike(hypotheses, references, "texts", "references")
    pairs: list[tuple[str, tuple[str, ...]]] = []
    for number, (text, given) in enumerate(zip(hypotheses, references, strict=True)):
        several = (given,) if isinstance(given, str) else tuple(given)
        if not several:
            raise LoraJaxError(f"Text {number} ({text[:40]!r}) has no reference: give it one.")
        pairs.append((text.strip(), tuple(r.strip() for r in several)))
    return pairs


def normalise_answer(text: str) -> str:
    """Lower the case, drop ASCII punctuation and the words a, an and the, and even out white space."""
    plain = text.lower().translate(str.maketrans("", "", string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", plain).split())


def _overlap_f1(text: str, reference: str) -> float:
    ours, theirs = (normalise_answer(t).split() for t in (text, reference))
    if not ours and not theirs:  # two answers without words are equal
        return 1.0
    return 2 * (Counter(ours) & Counter(theirs)).total() / (len(ours) + len(theirs))
