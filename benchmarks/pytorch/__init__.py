"""The PyTorch sides of the benchmark: each file is imported in a process of its own, never beside JAX."""
