"""What reads a store in a process of its own leaves none behind."""

import subprocess
import sys

WORK = """
import os, signal, sys
from actors.throwaway import in_child

def work():
    sys.stdout.write(f"{os.getpid()}\\n")
    sys.stdout.flush()
    while True:
        signal.pause()

in_child(work)
"""


def test_a_reader_ends_with_the_command_that_began_it() -> None:
    command = subprocess.Popen([sys.executable, "-c", WORK], stdout=subprocess.PIPE, text=True)
    with command:
        assert command.stdout is not None
        begun = command.stdout.readline().strip()

        command.kill()

        assert begun != str(command.pid)
        assert command.stdout.read() == "", "the child had the pipe too, and is gone"
