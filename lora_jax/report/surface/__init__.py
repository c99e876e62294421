"""The page of surfaces: the best rate and batch size of each size, and how the pair moves with N and D."""
