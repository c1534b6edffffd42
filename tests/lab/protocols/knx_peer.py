"""Searches for gateways: knx_peer.py OWN_ADDRESS"""
import asyncio
import sys

from xknx import XKNX
from xknx.io.gateway_scanner import GatewayScanner


async def main():
    scanner = GatewayScanner(XKNX(), local_ip=sys.argv[1], timeout_in_seconds=1)
    for gateway in await scanner.scan():
        print("gateway", gateway)


asyncio.run(main())
