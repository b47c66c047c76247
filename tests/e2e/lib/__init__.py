"""
End-to-end tests in few words: a Place declares balancers, instances and groups, starts the real halb, and the test
itself plays client and instance, line after line, over Wires that carry exact bytes and never wait without a deadline.

    addresses   loopback addresses and ports of this run alone
    wire        exact bytes over a socket
    message     HTTP/1.1 heads and bodies, read strictly
    instance    a server behind the balancer that behaves as told
    settings    Python values as configuration text
    halb        the process, its control program and its log
    load        steady clients, none of whom may be failed
    place       all of these together
"""
from .halb import DEADLINE, SANITIZED, Halb, program, run
from .instance import Instance, reply
from .load import Load
from .message import Head, Message, chunked, get, noise, request
from .place import Place
from .wait import background, let_pass, wait_until
from .wire import Wire

__all__ = ["DEADLINE", "SANITIZED", "Halb", "Head", "Instance", "Load", "Message", "Place", "Wire", "background", "chunked",
           "get", "let_pass", "noise", "program", "reply", "request", "run", "wait_until"]
