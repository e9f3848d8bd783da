"""The command line, search, Pareto fronts, export and report."""
