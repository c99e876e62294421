"""Recipes: which way of training gives runs that a law describes, and which gives the least loss."""
