"""Power laws of the best rate and batch size that others published, to compare one's own with.

We compare exponents only. Rates and batch sizes of other models, optimizers and units are other numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedLaw:
    """The exponents of a study, by letter. A letter that is missing has no part in its law.

    Attributes:
        name: Name of the study.
        source: Where it was published.
        rate: Exponents of the best rate.
        batch: Exponents of the best batch size. None if the study gives none, or if we do not know them.
    """

    name: str
    source: str
    rate: Mapping[str, float]
    batch: Mapping[str, float] | None


PUBLISHED = (
    PublishedLaw("Step Law", "2503.04715", {"N": -0.713, "D": 0.307}, {"D": 0.571}),
    PublishedLaw("OpenEuroLLM", "2608.28308", {"N": -0.417, "D": 0.086}, None),
    # of C = 6 N D: the same power of each
    PublishedLaw("DeepSeek LLM", "2401.02954", {"N": -0.125, "D": -0.125}, {"N": 0.3271, "D": 0.3271}),
)
