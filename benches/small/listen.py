"""The same as tiny-listen, in Python."""
import select
import socket
import sys

group = socket.inet_aton("239.1.2.3")
index = socket.if_nametoindex("lo").to_bytes(4, sys.byteorder)
listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.setsockopt(socket.IPPROTO_IP, 49, 0)  # IP_MULTICAST_ALL
listener.bind(("239.1.2.3", 5000))
listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + bytes(4) + index)
epoll = select.epoll()
epoll.register(listener, select.EPOLLIN)
left = 3
while left:
    epoll.poll()
    try:
        while left:
            payload, _ = listener.recvfrom(1500)
            if payload.startswith(b"NOTIFY "):
                sys.stdout.buffer.write(payload + b"\n")
                sys.stdout.flush()
                left -= 1
    except BlockingIOError:
        pass
