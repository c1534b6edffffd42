"""Sends a packet, and prints what is answered: datagram.py SOURCE_PORT ADDRESS PORT HOPS HEXADECIMAL"""
import socket
import sys

source_port, address, port, hops, payload = sys.argv[1:]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.bind(("", int(source_port)))
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, int(hops))
s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, int(hops))
s.sendto(bytes.fromhex(payload), (address, int(port)))
print("sent")
while True:
    answer, source = s.recvfrom(65535)
    print("answer from", *source, answer.hex())
