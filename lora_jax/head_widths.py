"""What goes wrong if heads get wider with the model, under a parametrisation relative to a base model.

The plan refuses such runs before they train. A study of the best rates doubts runs that have trained.
"""

from collections.abc import Iterable

RELATIVE = ("mup", "completep")  # parametrisations that describe a model relative to a base model


def explain_wider_heads(widths: Iterable[tuple[float, float]]) -> str | None:
    """Return what is wrong with models of one base. None if all heads have one width.

    Attention divides its scores by the root of the head width. This is right at the start only. If heads get
    wider, scores grow in training, and the best rate moves (Yang et al. 2022, appendix B.1).

    Args:
        widths: The width of each model, and that of its heads.
    """
    sizes = sorted(set(widths))
    if len({head for _, head in sizes}) < 2:
        return None
    shown = ", ".join(f"{head:g} at width {width:g}" for width, head in sizes)
    return (
        f"heads get wider with the model ({shown}). Scores are divided by the root of the head's width, but"
        " once queries and keys align they grow with the width itself, so wide models want a lower rate: keep"
        " the head's width and let n_heads grow with d_model."
    )
