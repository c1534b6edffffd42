"""Senders and a receiver with faults, with nothing but the sockets of Python.

faulty.py stream GROUP PORT INTERFACE [SOURCE]  sends a packet to the group every 50 ms, until it is ended
faulty.py checksum GROUP PORT INTERFACE         the same, with a wrong UDP checksum
faulty.py fragments GROUP PORT INTERFACE        the same, but only the first fragment of each packet
faulty.py fast GROUP PORT INTERFACE             the same as stream, 400 packets a second of 1000 bytes
faulty.py flood GROUP PORT INTERFACE            the same as stream, tens of thousands a second, for ten seconds
faulty.py near GROUP PORT INTERFACE             the same as stream, with a TTL of 1 instead of 5
faulty.py tagged GROUP PORT INTERFACE           the same as stream, in frames of VLAN 5
faulty.py tunnel GROUP PORT INTERFACE           creates this tun device, out of which the packets come to this host
faulty.py lldp INTERFACE                        sends a frame of LLDP every 50 ms
faulty.py gro INTERFACE                         switches GRO on, and ends
faulty.py xdp INTERFACE drop|pass native|generic  attaches an XDP program, until it is ended
faulty.py wire PORT                             prints the payload of each UDP packet to the port that comes in on eth0
faulty.py hoard GROUP PORT INTERFACE [SOURCE]   joins, with a small receive buffer, and never reads
"""
import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys
import time

IPV6_HDRINCL = 36
IP_ADD_SOURCE_MEMBERSHIP = 39
MCAST_JOIN_SOURCE_GROUP = 46


def udp(group, interface, source=None):
    is_v6 = ":" in group
    sock = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_DGRAM)
    index = socket.if_nametoindex(interface)
    if is_v6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 5)
    else:
        request = struct.pack("=4s4si", bytes(4), socket.inet_aton(source or "0.0.0.0"), index)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, request)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 5)
    if source:
        sock.bind((source, 0))
    return sock


def repeat(send, pause=0.05):
    print("begins", flush=True)
    while True:
        send()
        time.sleep(pause)


def stream(group, port, interface, source=None):
    sock = udp(group, interface, source)
    repeat(lambda: sock.sendto(b"a packet", (group, int(port))))


def fast(group, port, interface):
    sock = udp(group, interface)
    repeat(lambda: sock.sendto(bytes(1000), (group, int(port))), 0.0025)


def flood(group, port, interface):
    sock = udp(group, interface)
    print("begins", flush=True)
    end = time.monotonic() + 10
    while time.monotonic() < end:
        for _ in range(128):
            sock.sendto(bytes(100), (group, int(port)))
        time.sleep(0.002)


def near(group, port, interface):
    sock = udp(group, interface)
    if ":" in group:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
    repeat(lambda: sock.sendto(b"a packet", (group, int(port))))


def packet(source, group, port, payload):
    """A whole IP packet."""
    family = socket.AF_INET6 if ":" in group else socket.AF_INET
    source, to = socket.inet_pton(family, source), socket.inet_pton(family, group)
    datagram = struct.pack("!HHHH", 4000, port, 8 + len(payload), 0) + payload
    check = summed(source + to + struct.pack("!II", len(datagram), 17) + datagram) or 0xFFFF
    datagram = datagram[:6] + struct.pack("!H", check) + datagram[8:]
    if family == socket.AF_INET6:
        return struct.pack("!IHBB", 0x60000000, len(datagram), 17, 5) + source + to + datagram
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 1, 0, 5, 17, 0) + source + to
    return head[:10] + struct.pack("!H", summed(head)) + head[12:] + datagram


def tagged(group, port, interface):
    is_v6, to = ":" in group, socket.inet_pton(socket.AF_INET6 if ":" in group else socket.AF_INET, group)
    hardware = b"\x33\x33" + to[12:] if is_v6 else b"\x01\x00\x5e" + bytes([to[1] & 0x7F]) + to[2:]
    tag = struct.pack("!HHH", 0x8100, 5, 0x86DD if is_v6 else 0x0800)
    frame = hardware + b"\x02\0\0\0\0\x02" + tag + packet("fd00::2" if is_v6 else "10.0.0.2", group, int(port), b"a packet")
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    sock.bind((interface, 0))
    repeat(lambda: sock.send(frame))


def lldp(interface):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    sock.bind((interface, 0))
    repeat(lambda: sock.send(b"\x01\x80\xc2\0\0\x0e" + b"\x02\0\0\0\0\x02" + b"\x88\xcc" + bytes(50)))


def tunnel(group, port, interface):
    TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", interface.encode(), IFF_TUN | IFF_NO_PI))
    subprocess.run(["ip", "addr", "add", "10.0.9.1/24", "dev", interface], check=True)
    subprocess.run(["ip", "link", "set", interface, "up", "multicast", "on"], check=True)
    data = packet("10.0.9.2", group, int(port), b"a packet")
    repeat(lambda: os.write(device, data))


def gro(interface):
    SIOCETHTOOL, ETHTOOL_SGRO = 0x8946, 0x2C
    value = ctypes.create_string_buffer(struct.pack("=II", ETHTOOL_SGRO, 1))
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    fcntl.ioctl(sock, SIOCETHTOOL, struct.pack("16sP16x", interface.encode(), ctypes.addressof(value)))
    print("begins", flush=True)


def xdp(interface, verdict, mode):
    BPF, BPF_PROG_LOAD, BPF_LINK_CREATE, TYPE_XDP, ATTACH_XDP = {"x86_64": 321, "aarch64": 280}[os.uname().machine], 5, 28, 6, 37
    flags = {"native": 4, "generic": 2}[mode]
    libc = ctypes.CDLL(None, use_errno=True)

    def bpf(command, attributes):
        descriptor = libc.syscall(BPF, command, ctypes.create_string_buffer(attributes, 128), 128)
        if descriptor < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return descriptor

    # Two instructions: r0 = 1 (XDP_DROP) or 2 (XDP_PASS); exit.
    code = struct.pack("=BBhi", 0xB7, 0, 0, {"drop": 1, "pass": 2}[verdict]) + struct.pack("=BBhi", 0x95, 0, 0, 0)
    code, licence = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"GPL")
    addresses = [ctypes.addressof(code), ctypes.addressof(licence)]
    program = bpf(BPF_PROG_LOAD, struct.pack("=IIQQ", TYPE_XDP, 2, *addresses))
    bpf(BPF_LINK_CREATE, struct.pack("=IIII", program, socket.if_nametoindex(interface), ATTACH_XDP, flags))
    print("begins", flush=True)
    while True:
        time.sleep(60)


def summed(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return ~total & 0xFFFF


def own_address(group, port, interface):
    with udp(group, interface) as sock:
        sock.connect((group, port))
        return sock.getsockname()[0].split("%")[0]


def raw(group, port, interface, payload, is_right, more):
    """A function that sends the first `len(payload)` bytes of a packet, with headers of its own."""
    family = socket.AF_INET6 if ":" in group else socket.AF_INET
    source = socket.inet_pton(family, own_address(group, port, interface))
    to = socket.inet_pton(family, group)
    length = 8 + len(payload) + (1000 if more else 0)
    datagram = struct.pack("!HHHH", 4000, port, length, 0) + payload
    right = summed(source + to + struct.pack("!II", length, 17) + datagram)
    check = right if is_right else (right ^ 0x5555) or 1
    datagram = datagram[:6] + struct.pack("!H", check) + datagram[8:]
    index = socket.if_nametoindex(interface)
    sock = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
    number = [0]

    def send():
        number[0] += 1
        if family == socket.AF_INET6:
            fragment = struct.pack("!BBHI", 17, 0, 1, number[0]) if more else b""
            head = struct.pack("!IHBB", 0x60000000, len(fragment) + len(datagram), 44 if more else 17, 5)
            sock.sendto(head + source + to + fragment + datagram, (group, 0, 0, index))
        else:
            flags = 0x2000 if more else 0
            head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), number[0], flags, 5, 17, 0)
            sock.sendto(head + source + to + datagram, (group, 0))

    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_HDRINCL, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
        request = struct.pack("=4s4si", bytes(4), bytes(4), index)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, request)
    return send


def checksum(group, port, interface):
    repeat(raw(group, int(port), interface, b"a packet", False, False))


def fragments(group, port, interface):
    repeat(raw(group, int(port), interface, bytes(1000), True, True))


def hoard(group, port, interface, source=None):
    is_v6 = ":" in group
    family = socket.AF_INET6 if is_v6 else socket.AF_INET
    sock, index = socket.socket(family, socket.SOCK_DGRAM), socket.if_nametoindex(interface)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
    sock.bind(("", int(port)))
    if source:
        addresses = [struct.pack("=HHI", family, 0, 0) + socket.inet_pton(family, a) if is_v6 else
                     struct.pack("=HH", family, 0) + socket.inet_pton(family, a) for a in (group, source)]
        padded = [address.ljust(128, b"\0") for address in addresses]
        request = struct.pack("=I", index).ljust(struct.calcsize("P"), b"\0") + padded[0] + padded[1]
        sock.setsockopt(socket.IPPROTO_IPV6 if is_v6 else socket.IPPROTO_IP, MCAST_JOIN_SOURCE_GROUP, request)
    elif is_v6:
        request = socket.inet_pton(family, group) + struct.pack("=i", index)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
    else:
        request = struct.pack("=4s4si", socket.inet_aton(group), bytes(4), index)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
    print("begins", flush=True)
    while True:
        time.sleep(60)


def wire(port):
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
    tap.bind(("eth0", 3))
    print("begins", flush=True)
    while True:
        packet = tap.recv(65535)
        datagram = packet[40:] if packet[0] >> 4 == 6 else packet[20:]
        protocol = packet[6] if packet[0] >> 4 == 6 else packet[9]
        if protocol == 17 and datagram[2:4] == struct.pack("!H", int(port)):
            print("saw", datagram[8:].decode(errors="replace"), flush=True)


PROGRAMS = [wire, stream, fast, flood, near, tagged, tunnel, lldp, gro, xdp, checksum, fragments, hoard]
{program.__name__: program for program in PROGRAMS}[sys.argv[1]](*sys.argv[2:])
