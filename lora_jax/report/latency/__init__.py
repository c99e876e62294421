"""The latency table."""
