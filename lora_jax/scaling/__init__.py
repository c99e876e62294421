"""Run tables, laws, fits with a certificate, intervals, the frontier. Reads plain tables and needs no jax."""
