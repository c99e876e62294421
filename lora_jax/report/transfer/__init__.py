"""The page of a transfer of learning rates: best rates, how they move with size, and the rule they give."""
