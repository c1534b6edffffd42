"""How small the programs are, and whether they work: `make size` runs this.

    SIZE <program> <bytes> goal<=<n>      the file
    RSS <program> <kB> goal<=<n>          `Rss` of /proc/PID/smaps_rollup, the largest of 30 runs with an empty environment: of a
                                          listener while it waits, of a sender when it has sent all and is about to end
    START <program> <calls> <us>          system calls from execve to the first epoll_wait, and the time they take under strace,
                                          the shortest of 10 runs

Peers have no goal: they are shown. All of it happens in a network of its own, on `lo`. Exits with 1 where a goal is missed or a
program does not do what it is for.
"""
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 30
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILT = ROOT / "target" / "small"
TINY = ROOT / "examples" / "freestanding" / "target" / "release"
GROUP, PORT = "239.1.2.3", 5000
PACKETS = ("NOTIFY one", "M-SEARCH *", "NOTIFY two", "NOTIFY three")
WANTED = "NOTIFY one\nNOTIFY two\nNOTIFY three\n"
KINDS = {"v4": (GROUP, "NOTIFY one"), "v6": ("ff12::1:2:3", "NOTIFY six")}


def run(*words, **more):
    words = [str(word) for word in words]
    result = subprocess.run(words, capture_output=True, text=True, **more)
    if result.returncode != 0:
        sys.exit(f"size: {' '.join(words)} failed:\n{result.stdout}{result.stderr}")
    return result.stdout


def build():
    """Everything but what make has built before."""
    cargo = os.environ.get("CARGO", "cargo")
    run(cargo, "build", "--release", "--locked", cwd=TINY.parent.parent)
    run(cargo, "build", "--locked", "--profile", "small", "--bin", "small-mio", "--bin", "small-tokio",
        "--manifest-path", ROOT / "benches" / "Cargo.toml")
    BUILT.mkdir(parents=True, exist_ok=True)
    for profile, peer in (("small", "small-mio"), ("small", "small-tokio")):
        (BUILT / peer).write_bytes((ROOT / "benches" / "target" / profile / peer).read_bytes())
        (BUILT / peer).chmod(0o755)
    run("musl-gcc", "-Os", "-static", "-s", "-o", BUILT / "c-musl", HERE / "listen.c")
    run("gcc", "-Os", "-s", "-o", BUILT / "c-glibc", HERE / "listen.c")


class Program:
    def __init__(self, name, command, size_goal=None, rss_goal=None, file=None, after=1):
        self.name, self.command = name, [str(word) for word in command]
        self.size_goal, self.rss_goal = size_goal, rss_goal
        self.file = file or Path(self.command[0])
        # How many words of the kernel's first `after` lines of output say that it listens: mcast says it in words.
        self.failed = []

    def start(self, **more):
        return subprocess.Popen(self.command, env={}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **more)

    def report(self, kind, value, goal):
        if goal is None:
            print(f"{kind} {self.name} {value}", flush=True)
            return
        print(f"{kind} {self.name} {value} goal<={goal}", flush=True)
        if value > goal:
            self.failed.append(f"{kind} {self.name}: {value} is more than {goal}")

    def size(self):
        if self.file.is_file():
            self.report("SIZE", self.file.stat().st_size, self.size_goal)


def rss(pid):
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Rss:\s+(\d+) kB", text, re.M)[1])


def waits(pid):
    """Whether it sleeps in epoll_wait, by the kernel's word."""
    for _ in range(2000):
        try:
            number = Path(f"/proc/{pid}/syscall").read_text().split()[0]
        except OSError:
            number = ""
        if number in ("232", "281", "441"):  # epoll_wait, epoll_pwait, epoll_pwait2 of x86-64
            return True
        time.sleep(0.001)
    return False


def measured_while_waiting(program):
    most = 0
    for _ in range(RUNS):
        process = program.start()
        if not waits(process.pid):
            process.kill()
            sys.exit(f"size: {program.name} does not wait")
        most = max(most, rss(process.pid))
        process.kill()
        process.communicate()
    return most


def measured_at_its_end(command):
    """A sender never waits on lo: strace holds it in the call that ends it."""
    most = 0
    for _ in range(RUNS):
        with tempfile.NamedTemporaryFile() as log:
            tracer = subprocess.Popen(["strace", "-f", "-o", log.name, "-e", "inject=exit_group:delay_enter=100000", *command], env={"PATH": os.environ["PATH"]})
            for _ in range(2000):
                children = Path(f"/proc/{tracer.pid}/task/{tracer.pid}/children").read_text().split()
                try:
                    if children and Path(f"/proc/{children[0]}/syscall").read_text().split()[0] == "231":
                        most = max(most, rss(children[0]))
                        break
                except (OSError, IndexError):
                    pass
                time.sleep(0.001)
            else:
                sys.exit(f"size: {command} does not end")
            tracer.wait()
    return most


def started(program):
    """System calls and microseconds from execve to the first wait."""
    best = None
    for _ in range(10):
        with tempfile.NamedTemporaryFile("r") as log:
            tracer = subprocess.Popen(["strace", "-ttt", "-o", log.name, *program.command], env={"PATH": os.environ["PATH"]},
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            child = None
            while child is None:
                children = Path(f"/proc/{tracer.pid}/task/{tracer.pid}/children").read_text().split()
                child = children[0] if children else None
            if not waits(child):
                sys.exit(f"size: {program.name} does not wait")
            os.kill(int(child), 9)
            tracer.wait()
            lines = log.read().splitlines()
        calls = [line for line in lines if re.match(r"^[\d.]+ \w+\(", line)]
        first_wait = next(at for at, line in enumerate(calls) if re.match(r"^[\d.]+ epoll_p?wait", line))
        took = float(calls[first_wait].split()[0]) - float(calls[0].split()[0])
        figures = (first_wait - 1, round(took * 1e6))
        best = min(best or figures, figures, key=lambda figures: figures[1])
    return best


def check_listener(program, send, expected):
    process = program.start()
    if not waits(process.pid):
        sys.exit(f"size: {program.name} does not wait")
    send()
    deadline = time.monotonic() + 5
    got = b""
    while len(got) < len(expected) and time.monotonic() < deadline:
        os.set_blocking(process.stdout.fileno(), False)
        got += process.stdout.read() or b""
        time.sleep(0.001)
    process.kill()
    process.wait()
    if got.decode() != expected:
        sys.exit(f"size: {program.name} received {got!r}, not {expected!r}")
