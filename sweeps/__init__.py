"""Many runs: what to try, workers that train it, and what comes out."""
