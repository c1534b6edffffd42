"""Sends light, or prints what comes: sacn_peer.py send ADDRESS FIRST LAST | listen ADDRESS UNIVERSE"""
import sys
import time

import sacn

role, address = sys.argv[1:3]
if role == "send":
    sender = sacn.sACNsender(bind_address=address)
    sender.start()
    for universe in range(int(sys.argv[3]), int(sys.argv[4]) + 1):
        sender.activate_output(universe)
        sender[universe].multicast = True
        sender[universe].dmx_data = (universe,) * 512
else:
    receiver = sacn.sACNreceiver(bind_address=address)
    receiver.start()
    universe = int(sys.argv[3])
    receiver.register_listener("universe", lambda packet: print(packet.universe, packet.dmxData[511]), universe=universe)
    receiver.join_multicast(universe)
print("ready")
time.sleep(60)
