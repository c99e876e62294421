"""In-context learning beside fine-tuning: one model and the same examples, learned in two ways."""
