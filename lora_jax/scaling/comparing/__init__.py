"""Which form? Laws ranked by what they predict unseen."""
