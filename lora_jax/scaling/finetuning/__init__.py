"""Laws of fine-tuning by method: which law, where two methods cross, capacity, needed sizes, costs."""
