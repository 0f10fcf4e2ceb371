"""The machine and the process: hardware, TensorFlow's start, files, addresses."""
