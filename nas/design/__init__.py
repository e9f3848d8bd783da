"""Designing a search space for a device: `nas design-space`."""
