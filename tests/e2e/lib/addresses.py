"""Loopback addresses and ports that no other test of this machine uses at the moment."""
import itertools
import os
import socket

_numbers = itertools.count(1)
_ports = itertools.count(1)


def fresh_address():
    """An address of 127.64.0.0/10 that belongs to this test process; each call another one."""
    number = next(_numbers)
    assert number < 60000, "one process has used up its addresses"
    # Neighbouring processes start far apart, and only a process with 60000 addresses would reach the next.
    index = (os.getpid() * 509 + number) % (64 * 65536)
    return f"127.{64 + index // 65536}.{index // 256 % 256}.{index % 256}"


def free_port():
    """A port that is bound on no address of this machine; below those that the kernel gives to whoever asks for any."""
    while True:
        port = 10000 + (os.getpid() * 331 + next(_ports)) % 22000
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
                return port
            except OSError:
                continue
