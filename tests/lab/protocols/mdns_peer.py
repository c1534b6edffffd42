"""Asks for a host's address, or offers a service: mdns_peer.py resolve OWN_ADDRESS NAME | serve OWN_ADDRESS"""
import socket
import sys
import time

import zeroconf

role, address = sys.argv[1:3]
is_v6 = ":" in address
version = zeroconf.IPVersion.V6Only if is_v6 else zeroconf.IPVersion.V4Only
zc = zeroconf.Zeroconf(interfaces=[address], ip_version=version)
if role == "resolve":
    kind = zeroconf.AddressResolverIPv6 if is_v6 else zeroconf.AddressResolverIPv4
    resolver = kind(sys.argv[3] + ".")
    print("found", resolver.request(zc, 5000), *resolver.parsed_addresses())
else:
    family = socket.AF_INET6 if is_v6 else socket.AF_INET
    binary = socket.inet_pton(family, address.split("%")[0])
    kind = "_lamp._tcp.local."
    service = zeroconf.ServiceInfo(kind, "python." + kind, 80, addresses=[binary], server="python.local.")
    zc.register_service(service)
    print("ready")
    time.sleep(60)
