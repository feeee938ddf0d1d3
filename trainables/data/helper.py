"""`python -m trainables.data.helper FD` inspects files for its parent process, over a pipe.

With small images most time is spent in the interpreter, not in the decoders, so threads would share one core.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from trainables.data.grayscale import GrayRanges
from trainables.data.inspection import Inspection, Stamp, inspect


class Helper:
    """A process that inspects files. It is started as a command, not forked, so it is safe beside threads and Ray."""

    def __init__(self) -> None:
        self._pipe, theirs = Pipe()
        command = [sys.executable, "-m", "trainables.data.helper", str(theirs.fileno())]
        self._process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,  # Ctrl-C stops the parent only; its end closes the pipe, which ends this process
        )
        theirs.close()

    def inspect(self, files: Sequence[str], gray_ranges: GrayRanges | None) -> list[tuple[Inspection, Stamp | None]]:
        """Inspect files, see `trainables.data.inspection.inspect`.

        Raises:
            OSError, EOFError: The process has ended.
        """
        self._pipe.send((files, gray_ranges))
        return self._pipe.recv()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


def _serve(pipe: Connection) -> None:
    with suppress(EOFError, OSError):  # the parent has ended
        while True:
            files, gray_ranges = pipe.recv()
            pipe.send([inspect(file, gray_ranges) for file in files])


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])))
