"""Write the sample's train.tsv, dev.tsv and test.tsv again: python make_sentences.py.

Every sentence is a frame that is filled with words of one list. So its label is known by construction. The
words of opinion are dealt to the splits. None of those in dev or test is in train.
"""

import hashlib
from collections.abc import Iterator
from itertools import product
from pathlib import Path

FOLDER = Path(__file__).parent
NEGATIVE, POSITIVE = 0, 1
SIZES = {"train": 480, "dev": 120, "test": 240}  # sentences, as many of each label

SUBJECTS = (
    "the plot",
    "the acting",
    "the script",
    "the dialogue",
    "the ending",
    "the camera work",
    "the first act",
    "the lead performance",
    "the direction",
    "the pacing",
    "the love story",
    "the final scene",
)
FILMS = ("comedy", "thriller", "drama", "documentary", "love story", "sequel", "debut", "western")
ADVERBS = ("often", "simply", "truly", "at every turn", "from start to finish", "once again")

# By split, then by label.
ADJECTIVES = {
    "train": (
        (
            "dull", "clumsy", "tedious", "lifeless", "predictable", "shallow", "forgettable", "boring",
            "lazy", "awkward", "bland", "tiresome",
        ),
        (
            "funny", "moving", "clever", "gripping", "charming", "beautiful", "original", "warm", "brilliant",
            "graceful", "delightful", "honest",
        ),
    ),
    "dev": (
        ("stale", "sloppy", "hollow", "grating", "pointless"),
        ("witty", "touching", "inventive", "lovely", "absorbing"),
    ),
    "test": (
        ("dreary", "wooden", "incoherent", "tasteless", "painful", "ugly", "empty", "annoying"),
        ("wonderful", "elegant", "thrilling", "hilarious", "fresh", "heartfelt", "superb", "magical"),
    ),
}  # fmt: skip
VERBS = {
    "train": (
        (
            "put me to sleep", "wasted my evening", "falls flat", "goes nowhere", "made me look at my watch",
        ),
        (
            "kept me smiling", "won me over", "works like a dream", "stayed with me for days",
            "made my evening",
        ),
    ),
    "dev": (
        ("drags on and on", "left me cold", "misses every mark"),
        ("lifted my spirits", "earns its applause", "hits every note"),
    ),
    "test": (
        (
            "tested my patience", "collapses under its own weight", "insults the audience",
            "never finds a spark",
        ),
        ("swept me away", "rewards every minute", "deserves a second visit", "lights up the screen"),
    ),
}  # fmt: skip


def fill_frames(split: str, label: int) -> Iterator[tuple[str, str]]:
    """Yield (frame, sentence) for every way of filling the frames with the words of a split."""
    ours, theirs = ADJECTIVES[split][label], ADJECTIVES[split][1 - label]
    doing, opposite = VERBS[split][label], VERBS[split][1 - label]
    for subject, adverb, word in product(SUBJECTS, ADVERBS[:3], ours):
        yield "plain", f"{subject} is {adverb} {word} ."
    for film, (a, b) in product(FILMS, product(ours, ours)):
        if a != b:
            yield "pair", f"{'an' if a[0] in 'aeiou' else 'a'} {a} and {b} {film} ."
    for subject, word in product(SUBJECTS, theirs):
        yield "denied", f"{subject} is never {word} for a moment ."
        yield "denied", f"nobody could call {subject} {word} ."
    for subject, verb, adverb in product(SUBJECTS, doing, ADVERBS):
        yield "verb", f"{adverb} , {subject} {verb} ."
    for subject, other, there, here in product(SUBJECTS, FILMS, theirs, ours):
        yield "contrast", f"{subject} may be {there} , but as a whole this {other} is {here} ."
    for subject, film, verb, word in product(SUBJECTS, FILMS, opposite, ours):
        yield "although", f"although {subject} {verb} , the {film} is {word} in the end ."


def choose(split: str) -> list[tuple[str, int]]:
    """Return the sentences of a split with their labels, as many of each frame and label."""
    chosen: list[tuple[str, int]] = []
    for label in (NEGATIVE, POSITIVE):
        frames: dict[str, list[str]] = {}
        for frame, sentence in fill_frames(split, label):
            frames.setdefault(frame, []).append(sentence)
        each = SIZES[split] // 2 // len(frames)
        for sentences in frames.values():
            chosen += [(sentence, label) for sentence in sorted(sentences, key=_draw)[:each]]
    return sorted(chosen, key=lambda row: _draw(row[0]))


def _draw(sentence: str) -> str:
    """Return a number in place of chance: the same on every machine and in every version of Python."""
    return hashlib.sha256(sentence.encode()).hexdigest()


def render(split: str) -> str:
    """Return a split as a file in the form of GLUE's SST-2."""
    return "sentence\tlabel\n" + "".join(f"{sentence}\t{label}\n" for sentence, label in choose(split))


if __name__ == "__main__":
    for name in SIZES:
        (FOLDER / f"{name}.tsv").write_text(render(name), encoding="utf-8")
