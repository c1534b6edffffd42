"""How deep the stack of a freestanding program gets: run by `make size`, step by step under ptrace(2).

    STACK <program> <bytes> <bytes in the loop>

The first figure is the deepest point of the whole run below where the stack pointer was when the program began. The second is the
deepest point of receiving or sending alone, from the first wait or the first packet sent on, below where the stack pointer was then:
all that `recv` or `step` calls out of line. What they use of the frame of `main`, into which they are inlined, is in the first figure.
"""
import ctypes
import os
import subprocess
import sys

TRACE_ME, PEEK, STEP, REGISTERS = 0, 1, 9, 12
# Places in struct user_regs_struct of x86-64.
RAX, RIP, RSP = 10, 16, 19
SYSCALL = 0x050F
EPOLL_PWAIT, SENDTO = 281, 44

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def depths(program, packets_from=None):
    """Of a program; at its first wait another one is run that sends it packets."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        libc.ptrace(TRACE_ME, 0, None, None)
        os.execve(program, [program], {})
    registers = (ctypes.c_uint64 * 27)()
    _, status = os.waitpid(child, 0)
    begin = loop = None
    deepest = deepest_in_loop = 1 << 64
    while os.WIFSTOPPED(status):
        libc.ptrace(REGISTERS, child, None, ctypes.byref(registers))
        stack = registers[RSP]
        begin = begin or stack
        deepest = min(deepest, stack)
        if loop:
            deepest_in_loop = min(deepest_in_loop, stack)
        is_call = libc.ptrace(PEEK, child, registers[RIP], None) & 0xFFFF == SYSCALL
        if is_call and not loop and registers[RAX] in (EPOLL_PWAIT, SENDTO):
            loop = stack
            if packets_from:
                subprocess.run([packets_from], env={}, check=True)
        libc.ptrace(STEP, child, None, None)
        _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) != 0 or not loop:
        sys.exit(f"stack: {program} failed")
    return begin - deepest, loop - deepest_in_loop
