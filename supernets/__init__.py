"""Weights that hold every network of a search space, and the code that trains them."""
