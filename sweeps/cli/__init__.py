"""The `convsweep` command."""
