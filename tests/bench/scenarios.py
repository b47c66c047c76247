"""What is measured, and against whom: one entry each."""
from dataclasses import dataclass, field

MIB = 1 << 20


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    config: str                     # which of a peer's configurations serves it
    protocol: str                   # what the load speaks: "http" or "tcp"
    connections: int
    request_bytes: int = 0          # bodies for http, whole messages for tcp
    response_bytes: int = 200
    chunked: bool = False
    new_connection: bool = False    # one request on each connection
    rate: int = 0                   # requests per second; 0: closed loop, as fast as they go
    unit: str = "request"           # what CPU time is divided by: "request" or "MiB" received

    def units(self, report):
        return report["bytes"] / MIB if self.unit == "MiB" else report["requests"]


SCENARIOS = (
    Scenario("http-64", "HTTP keep-alive, 64 connections", "http", "http", 64),
    Scenario("http-512", "HTTP keep-alive, 512 connections", "http", "http", 512),
    Scenario("http-new", "HTTP, new client connection per request", "http", "http", 64, new_connection=True),
    Scenario("tcp-rr", "TCP request/response, 64 connections", "tcp", "tcp", 64, request_bytes=100),
    Scenario("tcp-bulk", "TCP bulk, 8 connections", "bulk", "tcp", 8, request_bytes=100,
             response_bytes=16 * MIB, unit="MiB"),
)


@dataclass(frozen=True)
class Peer:
    name: str
    package: str                    # what to install when it is missing
    program: str                    # a name in PATH; halb comes from the build folder
    arguments: tuple                # {config} and {dir} are filled in
    version: str                    # the option that prints it
    configs: dict = field(default_factory=dict)     # files in peers/
    needs: tuple = ()               # further files that the package list must bring


PEERS = (
    Peer("halb", "", "halb", ("-c", "{config}", "-s", "{dir}/halb.sock", "-d", "{dir}"), "-V",
         {"http": "halb-http.conf", "tcp": "halb-tcp.conf", "bulk": "halb-tcp.conf"}),
    Peer("haproxy", "haproxy", "haproxy", ("-db", "-f", "{config}"), "-v",
         {"http": "haproxy-http.cfg", "tcp": "haproxy-tcp.cfg", "bulk": "haproxy-bulk.cfg"}),
    Peer("nginx", "nginx libnginx-mod-stream", "nginx", ("-p", "{dir}", "-c", "{config}"), "-v",
         {"http": "nginx-http.conf", "tcp": "nginx-tcp.conf", "bulk": "nginx-bulk.conf"},
         ("/usr/lib/nginx/modules/ngx_stream_module.so",)),
)


@dataclass(frozen=True)
class Generator:
    """A second opinion on the clients; the instances stay bench_load's."""
    name: str
    command: tuple                  # {connections}, {seconds} and {url} are filled in
    requests: str                   # pattern of the number of requests answered
    errors: str                     # pattern of numbers that count as errors
    new_connection: tuple = ()      # further arguments; empty: it cannot

    def speaks(self, scenario):
        plain = scenario.protocol == "http" and not (scenario.request_bytes or scenario.rate)
        return plain and (not scenario.new_connection or bool(self.new_connection))


GENERATORS = (
    Generator("wrk", ("wrk", "-t1", "-c{connections}", "-d{seconds}s", "{url}"), r"(\d+) requests in",
              r"(?:connect|read|write|timeout|Non-2xx or 3xx responses:) (\d+)", ("-H", "Connection: close")),
    Generator("h2load", ("h2load", "--h1", "-t1", "-c{connections}", "-D{seconds}", "{url}"), r"(\d+) succeeded",
              r"(\d+) (?:failed|errored|timeout)"),
)
