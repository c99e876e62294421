"""In-context learning beside fine-tuning."""
