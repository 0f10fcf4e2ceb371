"""What a worker process runs: receive where to import from, then serve. Nothing imports this."""

from __future__ import annotations

import signal
import sys
from multiprocessing.connection import Connection


def main(descriptor: int, threads: int) -> None:
    """Serve the parent at the other end of a pipe, which first sends its `sys.path` and its registered functions.

    Args:
        descriptor: The pipe's file descriptor.
        threads: Threads of TensorFlow.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what it means
    connection = Connection(descriptor)
    try:
        sys.path[:], functions = connection.recv()
    except EOFError:  # the parent is gone already
        return
    from sweeps.backends.worker import serve

    serve(connection, threads, functions)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
