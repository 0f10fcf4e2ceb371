"""Where runs are trained."""
