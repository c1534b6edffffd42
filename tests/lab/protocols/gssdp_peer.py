"""Searches, or is a device, with GNOME's library: gssdp_peer.py search TARGET | serve TARGET ADDRESS"""
import sys

import gi

gi.require_version("GSSDP", "1.6")
from gi.repository import GLib, GSSDP

role, target = sys.argv[1:3]
client = GSSDP.Client(interface="eth0")
client.init(None)
loop = GLib.MainLoop()
if role == "search":
    browser = GSSDP.ResourceBrowser.new(client, target)
    browser.connect("resource-available", lambda _, usn, locations: print("available", usn, *locations))
    browser.connect("resource-unavailable", lambda _, usn: print("unavailable", usn))
    browser.set_active(True)
else:
    group = GSSDP.ResourceGroup.new(client)
    group.add_resource_simple(target, f"uuid:of-gssdp::{target}", f"http://{sys.argv[3]}/device.xml")
    group.set_available(True)
print("ready")
loop.run()
