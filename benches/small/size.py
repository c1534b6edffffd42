"""Measures the size of the programs, and checks that they work: `make size` runs this.

    SIZE <program> <bytes> goal<=<n>      the file
    RSS <program> <kB> goal<=<n>          `Rss` of /proc/PID/smaps_rollup, the largest of 30 runs with an empty environment: of a
                                          listener while it waits, of a sender after the last packet, before it ends
    START <program> <calls> <us>          system calls from execve to the first epoll_wait, and the time they take under strace,
                                          the median of 11 interleaved runs
    STACK <program> <bytes> <bytes>       the depth of the stack: see stack.py

Peers have no goals. Everything runs in its own network namespace, on `lo`. Exits with 1 if a goal is missed or a program does not
work.
"""
import os
import re
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import stack

RUNS = 30
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILT = ROOT / "target" / "small"
TINY = ROOT / "examples" / "freestanding" / "target" / "release"
GROUP, OTHER_GROUP, PORT = "239.1.2.3", "239.1.2.4", 5000
PACKETS = ("NOTIFY one", "M-SEARCH *", "NOTIFY two", "NOTIFY three")
WANTED = "NOTIFY one\nNOTIFY two\nNOTIFY three\n"


def run(*words, **more):
    words = [str(word) for word in words]
    result = subprocess.run(words, capture_output=True, text=True, **more)
    if result.returncode != 0:
        sys.exit(f"size: {' '.join(words)} failed:\n{result.stdout}{result.stderr}")
    return result.stdout


def build():
    """Builds everything that make has not built before."""
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
    def __init__(self, name, command, size_goal=None, rss_goal=None):
        self.name, self.command = name, [str(word) for word in command]
        self.size_goal, self.rss_goal = size_goal, rss_goal
        self.failed = []

    def start(self, **more):
        return subprocess.Popen(self.command, env={}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **more)

    def report(self, kind, value, goal, note=""):
        if goal is None:
            print(f"{kind} {self.name} {value}", flush=True)
            return
        print(f"{kind} {self.name} {value} goal<={goal}{note}", flush=True)
        if value > goal:
            self.failed.append(f"{kind} {self.name}: {value} is more than {goal}")

    def size(self):
        """The size of the file; a script has none that counts."""
        if not self.command[0].endswith("python3"):
            self.report("SIZE", Path(self.command[0]).stat().st_size, self.size_goal)


def rss(pid):
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Rss:\s+(\d+) kB", text, re.M)[1])


def waits(pid):
    """Whether it sleeps in epoll_wait, as the kernel reports."""
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
    """A sender never waits on lo, so strace stops it in the call that ends it."""
    most = 0
    for _ in range(RUNS):
        with tempfile.NamedTemporaryFile() as log:
            tracer = subprocess.Popen(["strace", "-f", "-o", log.name, "-e", "inject=exit_group:delay_enter=100000", *command], env={"PATH": os.environ["PATH"]})
            for _ in range(2000):
                children = Path(f"/proc/{tracer.pid}/task/{tracer.pid}/children").read_text().split()
                try:
                    # strace tests itself with child processes, which end with the same call.
                    is_it = children and os.path.samefile(f"/proc/{children[0]}/exe", command[0])
                    if is_it and Path(f"/proc/{children[0]}/syscall").read_text().split()[0] == "231":
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
    with tempfile.NamedTemporaryFile("r") as log:
        # On one processor: on two, the time to wake each other would be measured.
        tracer = subprocess.Popen(["strace", "-ttt", "-o", log.name, *program.command], env={"PATH": os.environ["PATH"]},
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                  preexec_fn=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}))
        deadline = time.monotonic() + 10
        while not re.search(r"^[\d.]+ epoll_p?wait", Path(log.name).read_text(), re.M):
            if time.monotonic() > deadline:
                sys.exit(f"size: {program.name} does not wait")
            time.sleep(0.01)
        for child in Path(f"/proc/{tracer.pid}/task/{tracer.pid}/children").read_text().split():
            os.kill(int(child), 9)
        tracer.wait()
        lines = log.read().splitlines()
    calls = [line for line in lines if re.match(r"^[\d.]+ \w+\(", line)]
    first_wait = next(at for at, line in enumerate(calls) if re.match(r"^[\d.]+ epoll_p?wait", line))
    took = float(calls[first_wait].split()[0]) - float(calls[0].split()[0])
    return first_wait - 1, round(took * 1e6)


def receives(program, send, expected):
    """Whether it prints the right ones of the packets that are sent to it."""
    process = program.start()
    if not waits(process.pid):
        sys.exit(f"size: {program.name} does not wait")
    send()
    os.set_blocking(process.stdout.fileno(), False)
    got, deadline = b"", time.monotonic() + 5
    while got.count(b"\n") < expected.count("\n") and time.monotonic() < deadline:
        got += process.stdout.read() or b""
        time.sleep(0.001)
    process.kill()
    process.wait()
    # mcast prints the sender before the payload.
    printed = re.sub(r"^127\.0\.0\.1:\d+ ", "", got.decode(), flags=re.M)
    if printed != expected:
        sys.exit(f"size: {program.name} printed {got!r}, not {expected!r}")


def send_from_here(packets=PACKETS, group=GROUP):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for packet in packets:
            sender.sendto(packet.encode(), (group, PORT))


def arrives(command, group, expected):
    """Whether what the command sends arrives."""
    family = socket.AF_INET6 if ":" in group else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as listener:
        listener.bind(("", PORT))
        lo = socket.if_nametoindex("lo")
        if family == socket.AF_INET:
            request = socket.inet_aton(group) + bytes(4) + struct.pack("=i", lo)
            listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
        else:
            request = socket.inet_pton(family, group) + struct.pack("=i", lo)
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
        listener.settimeout(5)
        run(*command, env={})
        got = [listener.recv(1500).decode() for _ in expected]
    if got != list(expected):
        sys.exit(f"size: of {command} came {got}, not {expected}")


def prints_answers(program):
    """Whether it asks, and prints what is sent to its port: from anybody, but no broadcast."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as responder, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        responder.bind((GROUP, PORT))
        request = socket.inet_aton(GROUP) + socket.inet_aton("127.0.0.1")
        responder.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
        responder.settimeout(5)
        process = program.start()
        question, asker = responder.recvfrom(1500)
        responder.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        responder.sendto(b"a broadcast", ("127.255.255.255", asker[1]))
        for answerer, answer in ((responder, b"here"), (other, b"and here"), (responder, b"here, too")):
            answerer.sendto(answer, asker)
        # It ends a second after the last one.
        printed, _ = process.communicate(timeout=10)
    if (question, printed, process.returncode) != (b"M-SEARCH *", b"here\nand here\nhere, too\n", 0):
        sys.exit(f"size: {program.name} asked {question!r}, printed {printed!r}, and ended with {process.returncode}")


def machine():
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    print(f"# {model[1] if model else 'unknown processor'}, Linux {os.uname().release}, {date.today()}")
    for command in ("rustc --version", "musl-gcc --version", "python3 --version"):
        print(f"# {run(*command.split()).splitlines()[0]}")


def measure():
    tiny_listen = Program("tiny-listen", [TINY / "tiny-listen"], 3072, 16)
    tiny_send = Program("tiny-send", [TINY / "tiny-send"], 3072, 16)
    tiny_ask = Program("tiny-ask", [TINY / "tiny-ask"], 4096, 16)
    two_listeners = Program("two-listeners", [TINY / "two-listeners"], 6144, 24)
    tiny_mcast = TINY / "tiny-mcast"
    tiny_mcast_listen = Program("tiny-mcast", [tiny_mcast, "listen", GROUP, PORT, "lo", "NOTIFY "], 8192, 24)
    static = ROOT / "target" / "static" / "x86_64-unknown-linux-musl"
    listen = ["listen", "--quiet", "--from", f"{GROUP}:{PORT}", "--interface", "lo"]
    mcast_small = Program("mcast-small", [static / "mcast-small", *listen], 262_144, 320)
    ours = [
        tiny_listen,
        tiny_ask,
        tiny_mcast_listen,
        two_listeners,
        Program("mcast", [static / "mcast", *listen, "--filter", "NOTIFY "], 786_432, 1024),
        mcast_small,
    ]
    peers = [Program(name, [BUILT / name]) for name in ("c-musl", "c-glibc", "small-mio", "small-tokio")]
    peers.append(Program("python", [shutil.which("python3"), HERE / "listen.py"]))

    tiny_send.size()
    # It sends what tiny-listen prints, and one more packet.
    receives(tiny_listen, lambda: run(tiny_send.command[0], env={}), WANTED)
    arrives(tiny_send.command, GROUP, PACKETS)
    prints_answers(tiny_ask)
    # Its second listener; the first one is checked below, as of all programs.
    searches = ("M-SEARCH one", "NOTIFY *", "M-SEARCH two", "M-SEARCH three")
    receives(two_listeners, lambda: send_from_here(searches, OTHER_GROUP), "M-SEARCH one\nM-SEARCH two\nM-SEARCH three\n")
    tiny_send.report("RSS", measured_at_its_end(tiny_send.command), tiny_send.rss_goal)
    for group, outlet in ((GROUP, "127.0.0.1"), ("ff12::1:2:3", "lo")):
        sending = [tiny_mcast, "send", group, PORT, outlet, *PACKETS]
        sending = [str(word) for word in sending]
        arrives(sending, group, PACKETS)
        listening = Program("tiny-mcast", [tiny_mcast, "listen", group, PORT, "lo", "NOTIFY "])
        receives(listening, lambda: run(*sending, env={}), WANTED)
        for kind, most in (("listen", measured_while_waiting(listening)), ("send", measured_at_its_end(sending))):
            part = Program("tiny-mcast", [tiny_mcast])
            part.report("RSS", most, 24, f" ({kind}, {'IPv6' if ':' in group else 'IPv4'})")
            tiny_mcast_listen.failed += part.failed
    for program, sender in ((tiny_listen, tiny_send.command[0]), (tiny_send, None)):
        whole, loop = stack.depths(program.command[0], sender)
        print(f"STACK {program.name} {whole} {loop}", flush=True)
    failed = tiny_send.failed
    for program in ours + peers:
        program.size()
        if program not in (tiny_listen, tiny_ask, tiny_mcast_listen):
            everything = "".join(f"{packet}\n" for packet in PACKETS)
            receives(program, send_from_here, everything if program is mcast_small else WANTED)
        program.report("RSS", measured_while_waiting(program), program.rss_goal)
        failed += program.failed
    starts = {program: [] for program in ours + peers}
    for _ in range(11):
        for program, figures in starts.items():
            figures.append(started(program))
    for program, figures in starts.items():
        calls, times = zip(*figures)
        print(f"START {program.name} {statistics.median(calls)} {statistics.median(times)}", flush=True)
    for failure in failed:
        print(f"size: {failure}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    if sys.argv[1:] == ["--inside"]:
        sys.exit(measure())
    build()
    machine()
    sys.stdout.flush()
    network = "ip link set lo up && ip route add 224.0.0.0/4 dev lo src 127.0.0.1 && ip -6 route add local ff00::/8 dev lo table local metric 1"
    unshare = ["unshare", "-n" if os.geteuid() == 0 else "-rn", "sh", "-c", f"{network} && exec python3 {__file__} --inside"]
    sys.exit(subprocess.run(unshare).returncode)
