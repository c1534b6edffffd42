"""Programs of strangers, with nothing but the sockets of Python.

stranger.py forge GROUP TYPE CODE REST  answers the next packet to the group on eth0 with an ICMP error, as any host can
stranger.py sender GROUP PORT           sends each line to the group on eth0; gives up a line that the kernel refuses
stranger.py neighbour BIND PORT OPTION  is bound to an address with SO_REUSEADDR, SO_REUSEPORT, or BOTH; counts what it gets
stranger.py member GROUP PORT INTERFACE joins a group, and counts what it gets
stranger.py unicast ADDRESS PORT COUNT  sends that many packets, each from a socket of its own
"""
import socket
import struct
import sys
import time

IP_RECVERR, IPV6_RECVERR = 11, 25


def udp(address):
    return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def forge(group, kind, code, rest):
    is_v6 = ":" in group
    protocol = 0x86DD if is_v6 else 0x0800
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(protocol))
    tap.bind(("eth0", protocol))
    print("listening", flush=True)
    to = socket.inet_pton(socket.AF_INET6 if is_v6 else socket.AF_INET, group)
    while True:
        packet = tap.recv(65535)
        if (packet[24:40] if is_v6 else packet[16:20]) == to:
            break
    head = struct.pack("!BBHI", int(kind), int(code), 0, int(rest))
    if is_v6:
        raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        victim = (socket.inet_ntop(socket.AF_INET6, packet[8:24]), 0, 0, socket.if_nametoindex("eth0"))
        raw.sendto(head + packet[:200], victim)
    else:
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        message = head + packet[:28]
        message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
        raw.sendto(message, (socket.inet_ntoa(packet[12:16]), 0))
    print("forged", flush=True)


def sender(group, port):
    sock, index = udp(group), socket.if_nametoindex("eth0")
    if ":" in group:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
    else:
        request = struct.pack("=4s4si", bytes(4), bytes(4), index)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, request)
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    print("begins", flush=True)
    for line in sys.stdin:
        try:
            sock.sendto(line.rstrip("\n").encode(), (group, int(port)))
            print("sent", flush=True)
        except OSError as error:
            print("refused", error, flush=True)


def counts(sock):
    print("begins", flush=True)
    count = 0
    while True:
        source = sock.recvfrom(65535)[1][0]
        count += 1
        print(f"got {count}. from {source}", flush=True)


def neighbour(address, port, options):
    sock = udp(address)
    if ":" in address:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if options in ("SO_REUSEADDR", "BOTH"):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if options in ("SO_REUSEPORT", "BOTH"):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((address, int(port)))
    counts(sock)


def member(group, port, interface):
    sock, index = udp(group), socket.if_nametoindex(interface)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if ":" in group:
        sock.bind(("::", int(port)))
        request = socket.inet_pton(socket.AF_INET6, group) + struct.pack("=i", index)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
    else:
        sock.bind(("", int(port)))
        request = struct.pack("=4s4si", socket.inet_aton(group), bytes(4), index)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
    counts(sock)


def unicast(address, port, count):
    for _ in range(int(count)):
        with udp(address) as sock:
            sock.sendto(b"unicast", (address, int(port)))
        time.sleep(0.001)
    print("sent", flush=True)


PROGRAMS = {"forge": forge, "sender": sender, "neighbour": neighbour, "member": member, "unicast": unicast}
PROGRAMS[sys.argv[1]](*sys.argv[2:])
