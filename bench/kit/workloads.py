"""What is asked of the proxies: name, path, connections, how the client behaves, how the proxy is set."""
from dataclasses import dataclass
from typing import Optional

from . import load


@dataclass(frozen=True)
class Workload:
    name: str
    path: str = "/"
    connections: int = 64
    lua: Optional[str] = None
    workers: int = 1
    rules: int = 0
    access_log: bool = False
    tls: bool = False
    headers: bool = False
    client: str = "wrk"
    unit: str = "request"

    def ask(self, port, seconds):
        """How many the proxy has answered; refuses a run with any answer that is not as it must be."""
        if self.client == "wrk":
            return load.wrk(port, self.path, self.connections, seconds, self.lua, self.tls)
        if self.client == "h2":
            return load.h2(port, self.path, self.connections, seconds)
        if self.client == "websocket":
            return load.websocket(port, self.connections, seconds)
        return load.handshakes(port, seconds, resume=self.client == "resumed")


W = Workload
ALL = [
    W("small body, 64 connections"),
    W("small body, 1 connection", connections=1),
    W("small body, 1,000 connections", connections=1000),
    W("body of 64 KiB", path="/file/64k"),
    W("body of 1 MiB", path="/file/1m", connections=16),
    W("POST of 64 KiB", path="/post", connections=16, lua=load.POST_64K),
    W("a connection per request", lua=load.CLOSE),
    W("20 headers each way", path="/headers", lua=load.TWENTY_HEADERS),
    W("1,000 rules", rules=1000),
    W("20,000 rules", rules=20000),
    W("access log on", access_log=True),
    W("2 workers", workers=2),
    W("TLS, keepalive", tls=True),
    W("TLS, a new session each", tls=True, client="handshakes", unit="handshake with a request"),
    W("TLS, sessions resumed", tls=True, client="resumed", unit="handshake with a request"),
    W("HTTP/2 over TLS", tls=True, client="h2", connections=16),
    W("WebSocket messages", client="websocket", connections=32, unit="message there and back"),
    W("everything on", tls=True, rules=1000, access_log=True, headers=True),
]
