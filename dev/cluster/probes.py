"""Asks the cluster's servers whether they work: over HTTP, and over DNS as a pod would."""

import secrets
import socket
import ssl
import struct
import urllib.error
import urllib.request
from pathlib import Path

from dev.cluster.processes import Daemon, NotRunningError
from dev.cluster.waiting import wait_for

_OK = 200
_TYPE_A = 1
_CLASS_IN = 1
_RECURSE = 0x0100
_ERROR_BITS = 0x000F


def answers(daemon: Daemon, url: str, *, authority: Path | None = None) -> bool:
    """Tell whether a program answers 200 at a URL; raise `NotRunningError` if it has ended."""
    daemon.check()
    trust = ssl.create_default_context(cafile=str(authority)) if authority else None
    # No proxy, whatever the environment says: these servers are on this machine.
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)
    )
    try:
        with opener.open(url, timeout=5) as response:
            return bool(response.status == _OK)
    except (urllib.error.URLError, OSError):
        return False


def start_until_answers(daemon: Daemon, url: str, *, seconds: float) -> None:
    """Start a program, again if it ends, and return when it answers 200 at a URL."""

    def starts_and_answers() -> bool:
        daemon.ensure()
        try:
            return answers(daemon, url)
        except NotRunningError:
            return False

    wait_for(f"{daemon.name}, whose log is {daemon.log}", starts_and_answers, seconds=seconds, every=0.2)


def resolves(name: str, *, server: str, source: str) -> bool:
    """Tell whether a DNS server has an address for a name, when asked from the address `source`."""
    query_id = secrets.randbelow(1 << 16)
    header = struct.pack("!HHHHHH", query_id, _RECURSE, 1, 0, 0, 0)
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    question = labels + b"\0" + struct.pack("!HH", _TYPE_A, _CLASS_IN)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((source, 0))
        client.settimeout(1)
        try:
            client.sendto(header + question, (server, 53))
            reply = client.recv(512)
        except OSError:
            return False
    answer_id, flags, _, answer_count, _, _ = struct.unpack("!HHHHHH", reply[:12])
    return bool(answer_id == query_id and not flags & _ERROR_BITS and answer_count)
