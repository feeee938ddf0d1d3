"""`python -m trainables.data.helper FD`: inspects files for its parent process, over a pipe.

Small images keep the interpreter busy rather than the decoders, and one interpreter uses one core.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from trainables.data.greys import Greys
from trainables.data.inspection import Inspection, Stamp, inspect


class Helper:
    """A process that inspects files. It is a new command and not a fork, so it is safe beside threads and Ray."""

    def __init__(self) -> None:
        self._pipe, theirs = Pipe()
        command = [sys.executable, "-m", "trainables.data.helper", str(theirs.fileno())]
        self._process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,  # Ctrl-C reaches the parent, whose end closes the pipe
        )
        theirs.close()

    def inspect(self, files: Sequence[str], greys: Greys | None) -> list[tuple[Inspection, Stamp | None]]:
        self._pipe.send((files, greys))
        return self._pipe.recv()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


def _serve(pipe: Connection) -> None:
    with suppress(EOFError, OSError):  # the parent has ended
        while True:
            files, greys = pipe.recv()
            pipe.send([inspect(file, greys) for file in files])


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])))
