"""Latency, accuracy and zero-cost scores of architectures, with scikit-learn's habits."""
