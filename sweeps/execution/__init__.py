"""Running a sweep: plan, engine, timing."""
