"""The page, the figures and the tables of `lora-jax ablation`."""
