"""Planning: from a budget to runs, and the next run worth buying."""
