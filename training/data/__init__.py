"""Data for training: the benchmark, the difficulty filter, and what verl reads."""
