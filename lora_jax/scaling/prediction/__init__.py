"""Predictions with intervals: budgets, serving loads, crossovers, the frontier."""
