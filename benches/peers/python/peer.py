"""The peers in Python 3, with only its standard library.

    peer.py TASK WAY CPU GROUP PORT SIZE NUMBER

It pins itself to the processor, opens its sockets and prints `ready`. For each line of input, which is a count, it does its task
once and prints `PACKETS BYTES NANOSECONDS ALLOCATIONS`: the CPU time of this thread; its allocations are not counted. It ends
when its input is closed. All sockets stay on lo.
"""

import os
import select
import socket
import statistics
import struct
import sys
import time

BUFFER = 2048
RECEIVE_BUFFER = 4 << 20
IP_MULTICAST_ALL = 49
SO_RCVBUFFORCE = 33
# How long a peer waits for a packet that should come, and after which time without a packet the missing ones are lost: in seconds.
PATIENCE, SILENCE = 5.0, 0.3

task, way, cpu, group, port, size, number = sys.argv[1:]
port, size, number = int(port), int(size), int(number)
payload = bytes(size)


def open_receiver(port):
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setblocking(False)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    receiver.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL, 0)
    try:
        receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except PermissionError:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    receiver.bind((group, port))
    membership = struct.pack("4s4si", socket.inet_aton(group), bytes(4), socket.if_nametoindex("lo"))
    receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
    return receiver


def open_sender():
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.setblocking(False)
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
    return sender


def receive_all(receiver):
    """Receives until there is nothing left; returns the numbers of packets and bytes."""
    packets = total = 0
    try:
        while True:
            data, _source = receiver.recvfrom(BUFFER)
            packets += 1
            total += len(data)
    except BlockingIOError:
        return packets, total


def drain():
    receiver = open_receiver(port)
    return lambda count: (*receive_all(receiver), None)


def burst():
    poller = select.epoll()
    receivers = {}
    for _ in range(number):
        receiver = open_receiver(port)
        receivers[receiver.fileno()] = receiver
        poller.register(receiver, select.EPOLLIN)

    def work(_count):
        packets = total = 0
        while events := poller.poll(0, 1):
            for fd, _flags in events:
                more, length = receive_all(receivers[fd])
                packets, total = packets + more, total + length
        return packets, total, None

    return work


def rate():
    poller, receiver = select.epoll(), open_receiver(port)
    poller.register(receiver, select.EPOLLIN)

    def work(count):
        packets = total = 0
        while packets < count and poller.poll(SILENCE if packets else PATIENCE):
            more, length = receive_all(receiver)
            packets, total = packets + more, total + length
        return packets, total, None

    return work


def send():
    sender, to = open_sender(), (group, port)

    def work(count):
        for _ in range(count):
            sender.sendto(payload, to)
        return count, count * size, None

    return work


def talk(hear_port, say_port):
    """Returns two functions: one receives a packet, one sends a packet."""
    poller, receiver, sender = select.epoll(), open_receiver(hear_port), open_sender()
    poller.register(receiver, select.EPOLLIN)
    to = (group, say_port)

    def hear():
        if not poller.poll(PATIENCE):
            sys.exit("a packet is lost")
        receiver.recvfrom(BUFFER)

    return hear, lambda: sender.sendto(payload, to)


def ping():
    hear, say = talk(port, port + 1)

    def work(count):
        times = []
        for _ in range(count):
            start = time.monotonic_ns()
            say()
            hear()
            times.append(time.monotonic_ns() - start)
        # The median times the number of trips: one trip that the machine delayed must not count.
        return count, count * size, int(statistics.median(times) * count)

    return work


def pong():
    hear, say = talk(port + 1, port)

    def work(count):
        for _ in range(count):
            hear()
            say()
        return count, count * size, None

    return work


def main():
    os.sched_setaffinity(0, {int(cpu)})
    work = {"drain": drain, "burst": burst, "rate": rate, "send": send, "ping": ping, "pong": pong}[task]()
    print("ready", flush=True)
    for line in sys.stdin:
        start = time.thread_time_ns()
        packets, total, nanoseconds = work(int(line))
        spent = time.thread_time_ns() - start
        print(packets, total, spent if nanoseconds is None else nanoseconds, 0, flush=True)


main()
