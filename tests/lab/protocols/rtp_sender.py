"""Sends RTP with 50 packets a second, of which it leaves one out of MISSING (0: none): rtp_sender.py ADDRESS GROUP PORT MISSING COUNT"""
import socket
import struct
import sys
import time

address, group = sys.argv[1:3]
port, missing, count = map(int, sys.argv[3:6])
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
sender.bind((address, 0))
lost = 0
for number in range(count):
    # The first packets tell that it is RTP, and the last one that those before it are missing.
    if missing and 10 < number < count - 1 and number % missing == 0:
        lost += 1
    else:
        packet = struct.pack(">BBHII", 0x80, 0, number & 0xFFFF, number * 160, 0x12345678) + bytes(160)
        sender.sendto(packet, (group, port))
    time.sleep(0.02)
print("left out", lost)
time.sleep(60)
