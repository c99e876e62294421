"""Which of two recipes is better: the compute, tokens, steps or seconds that one saves at equal loss."""
