"""The commands of `lora-jax`, one file each: its arguments, and what it calls. Nothing heavy at the top."""
