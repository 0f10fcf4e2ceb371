"""What sweeps there are: ablations, studies, and sweeps of the command line."""
