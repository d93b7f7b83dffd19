"""One thread of another process, held still by ptrace(2)."""

import ctypes
import os
import threading
from pathlib import Path

PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17


def threads_named(pid, start):
    """The threads of a process whose names begin so."""
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        if Path(f"/proc/{pid}/task/{task}/comm").read_text().startswith(start):
            found.append(int(task))
    return found


class Stopped:
    """One thread of another process, held still. Others of that process go on."""

    def __init__(self, thread_id):
        self.thread_id = thread_id
        self.held, self.free, self.problem = threading.Event(), threading.Event(), None
        # Whoever holds a thread has to let it go: the same thread of ours.
        self.thread = threading.Thread(target=self._hold)
        self.thread.start()
        self.held.wait(60)

    def _hold(self):
        libc = ctypes.CDLL(None, use_errno=True)
        libc.ptrace.restype = ctypes.c_long
        libc.ptrace.argtypes = (ctypes.c_long,) * 4
        if libc.ptrace(PTRACE_SEIZE, self.thread_id, 0, 0) != 0:
            self.problem = os.strerror(ctypes.get_errno())
            self.held.set()
            return
        libc.ptrace(PTRACE_INTERRUPT, self.thread_id, 0, 0)
        os.waitpid(self.thread_id, 0x40000000)  # __WALL
        self.held.set()
        self.free.wait(120)
        libc.ptrace(PTRACE_DETACH, self.thread_id, 0, 0)

    def end(self):
        """Lets it go on."""
        self.free.set()
        self.thread.join(60)
