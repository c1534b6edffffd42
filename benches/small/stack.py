"""Measures the depth of a freestanding program's stack: run by `make size`, step by step under ptrace(2).

    STACK <program> <bytes> <bytes in the loop>

The first figure is the depth of the whole run below the stack pointer at the program's entry. The second is the depth of only
receiving or sending: from the first wait or the first sent packet on, below the stack pointer at that time. It is the stack
of what `recv` or `step` call out of line. What they use in the frame of `main`, into which they are inlined, is in the first
figure.
"""
import ctypes
import os
import subprocess
import sys

TRACE_ME, PEEK, STEP, REGISTERS = 0, 1, 9, 12
# Indexes in struct user_regs_struct of x86-64.
RAX, RIP, RSP = 10, 16, 19
SYSCALL = 0x050F
EPOLL_PWAIT, SENDTO = 281, 44

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def depths(program, packets_from=None):
    """The depths of a program; at its first wait, another one is run that sends it packets."""
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
