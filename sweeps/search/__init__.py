"""What to try next: search spaces and Optuna, the only folder that imports it."""
