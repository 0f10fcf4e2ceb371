"""One run: a config, its data, its model, its training and its record. Knows nothing of sweeps."""
