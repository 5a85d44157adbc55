"""The compiled kernels of ranking and training, and `compile`, the one place that says how."""
