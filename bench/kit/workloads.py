"""What is asked of the proxies: name, path, connections, how the client behaves, how the proxy is set."""
from collections import namedtuple

from . import load

Workload = namedtuple("Workload", "name path connections lua workers rules access_log")


def w(name, path="/", connections=64, lua=None, workers=1, rules=0, access_log=False):
    return Workload(name, path, connections, lua, workers, rules, access_log)


ALL = [
    w("small body, 64 connections"),
    w("small body, 1 connection", connections=1),
    w("small body, 1000 connections", connections=1000),
    w("body of 64 KiB", path="/file/64k"),
    w("body of 1 MiB", path="/file/1m", connections=16),
    w("POST of 64 KiB", path="/post", connections=16, lua=load.POST_64K),
    w("a connection per request", lua=load.CLOSE),
    w("20 headers each way", path="/headers", lua=load.TWENTY_HEADERS),
    w("1,000 rules", rules=1000),
    w("20,000 rules", rules=20000),
    w("access log on", access_log=True),
    w("2 workers", workers=2),
]
