"""What a server process is denied before it starts: memory to lock, descriptors, io_uring.

The functions here are for `preexec_fn`: they run in the child, between fork and exec.
"""

import ctypes
import platform
import resource
import struct

#: The same number on every architecture.
IO_URING_SETUP = 425
LANDLOCK_CREATE_RULESET = 444
#: Not this one.
SECCOMP = 317 if platform.machine() == "x86_64" else 277
EPERM = 1

PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
SECCOMP_RET_ALLOW = 0x7FFF0000
SECCOMP_RET_ERRNO = 0x00050000
BPF_LD_W_ABS, BPF_JEQ, BPF_RET = 0x20, 0x15, 0x06

LIBC = ctypes.CDLL(None, use_errno=True)


class Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def limit(what, value):
    """A `preexec_fn` that sets both the soft and the hard limit."""
    return lambda: resource.setrlimit(what, (value, value))


def deny_io_uring():
    """Makes io_uring_setup fail with EPERM, as a container's seccomp profile does."""
    deny(IO_URING_SETUP)


def deny_walls():
    """Makes seccomp and landlock_create_ruleset fail, for this process and all that it starts."""
    deny(LANDLOCK_CREATE_RULESET, SECCOMP)


def deny(*numbers):
    """Makes system calls fail with EPERM."""
    instructions = [(BPF_LD_W_ABS, 0, 0, 0)]  # the number of the system call
    for number in numbers:
        instructions += [
            (BPF_JEQ, 0, 1, number), (BPF_RET, 0, 0, SECCOMP_RET_ERRNO | EPERM)]
    instructions.append((BPF_RET, 0, 0, SECCOMP_RET_ALLOW))
    instructions = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
    code = ctypes.create_string_buffer(instructions, len(instructions))
    program = Program(len(instructions) // 8, ctypes.addressof(code))
    for arguments in (
            (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
            (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(program), 0, 0)):
        if LIBC.prctl(*map(ctypes.c_ulong, arguments)) != 0:
            raise OSError(ctypes.get_errno(), f"prctl {arguments[0]}")
