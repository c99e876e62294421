"""Parameter-efficient fine-tuning: one mechanism (method.py), and one file for each method (methods/)."""
