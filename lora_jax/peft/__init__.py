"""Parameter-efficient fine-tuning: one mechanism (method.py), and one file a method (methods/)."""
