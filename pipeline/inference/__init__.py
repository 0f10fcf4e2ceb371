"""Using a trained model: load, predict, explain."""
