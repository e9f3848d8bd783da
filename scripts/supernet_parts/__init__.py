"""Parts of `bench_supernets.py` that train: each stops in time, and goes on where it stopped."""
