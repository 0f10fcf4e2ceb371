"""Training one network: loop, checkpoints, identity, expected cost."""
