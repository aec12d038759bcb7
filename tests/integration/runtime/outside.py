"""Hosts beyond this one, for asking what a container reaches: a namespace with private, metadata and public-like
addresses, and a name server. Routes lead to exactly those, so no packet takes the way to the internet.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

METADATA, PRIVATE, SHARED, LAN = "169.254.169.254", "10.203.7.9", "100.64.7.9", "192.168.203.9"
PUBLIC = "203.0.113.77"
RESOLVER = "10.203.7.53"
LINK = ("198.51.100.1", "198.51.100.2")
V4 = (METADATA, PRIVATE, SHARED, LAN, PUBLIC, RESOLVER)
PUBLIC6 = "2a0e:7700::77"
PRIVATE6, METADATA6, DOCUMENTS6, SIX_TO_FOUR6 = "fd12:3456::9", "fd00:ec2::254", "2001:db8::9", "2002:a9fe:a9fe::9"
LINK6 = ("2a0e:7701::1", "2a0e:7701::2")
V6 = (PUBLIC6, PRIVATE6, METADATA6, DOCUMENTS6, SIX_TO_FOUR6)
PORTS = (25, 80, 587)
NAMES = {"public.example": PUBLIC, "nas.example": PRIVATE}
_SERVER = f"""
import socket, threading
def serve(port):
    s = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True); ready.release()
    while True: s.accept()[0].close()
def name(query):
    labels, at = [], 12
    while query[at]: labels.append(query[at + 1 : at + 1 + query[at]].decode()); at += 1 + query[at]
    return ".".join(labels), query[12 : at + 5], query[at + 1 : at + 3] == b"\\0\\1"
def resolve():
    s = socket.socket(type=socket.SOCK_DGRAM); s.bind(("{RESOLVER}", 53)); ready.release()
    while True:
        query, peer = s.recvfrom(512)
        asked, question, a = name(query)
        address = {NAMES!r}.get(asked)
        answers = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\1\\0\\4" + socket.inet_aton(address) if address and a else b""
        counts = bytes([0, 1, 0, 1 if answers else 0, 0, 0, 0, 0])
        s.sendto(query[:2] + (b"\\x81\\x80" if address else b"\\x81\\x83") + counts + question + answers, peer)
ready = threading.Semaphore(0)
for port in {PORTS}: threading.Thread(target=serve, args=(port,)).start()
threading.Thread(target=resolve).start()
for _ in range(len({PORTS}) + 1): ready.acquire()
print("ready", flush=True)
"""


def execute(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


@contextmanager
def outside() -> Iterator[None]:
    """Linked to the namespace of this thread, which routes to it."""
    name = f"ogt{os.getpid() % 10**6}"
    with ExitStack() as stack:
        execute("ip", "netns", "add", name)
        stack.callback(execute, "ip", "netns", "del", name)  # takes the link, and with it the routes
        execute("ip", "link", "add", name, "type", "veth", "peer", "name", "out", "netns", name)
        inside = ("ip", "-n", name)
        execute("ip", "addr", "add", f"{LINK[0]}/30", "dev", name)
        execute("ip", "addr", "add", f"{LINK6[0]}/64", "dev", name, "nodad")
        execute("ip", "link", "set", name, "up")
        execute(*inside, "addr", "add", f"{LINK[1]}/30", "dev", "out")
        execute(*inside, "addr", "add", f"{LINK6[1]}/64", "dev", "out", "nodad")
        execute(*inside, "link", "set", "out", "up")
        execute(*inside, "link", "set", "lo", "up")
        execute(*inside, "route", "add", "fd00:5a::/64", "via", LINK6[0])
        for address in (*V4, *V6):
            length = 128 if ":" in address else 32
            execute(*inside, "addr", "add", f"{address}/{length}", "dev", "lo")
            execute("ip", "route", "add", f"{address}/{length}", "via", (LINK6 if ":" in address else LINK)[1])
        server = subprocess.Popen(
            ["ip", "netns", "exec", name, sys.executable, "-c", _SERVER], stdout=subprocess.PIPE, text=True
        )
        stack.callback(server.wait)
        stack.callback(server.kill)
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield
