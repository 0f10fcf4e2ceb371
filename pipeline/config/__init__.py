"""What can be configured, and composing it from conf/ and overrides."""
