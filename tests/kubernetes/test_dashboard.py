"""Every expression of the Grafana dashboard returns data from a real Prometheus that scraped the real
binary under traffic, with a reload, a dead worker and a dead upstream in it."""

import http.client
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import unittest
import urllib.parse
import urllib.request
from pathlib import Path

import yaml

from cases import DEPLOY, needs
from running import BINARY, Sluice, eventually, no_binary

# What Grafana would put in; Prometheus scrapes every second here.
VARIABLES = {
    "$__rate_interval": "10s",
    "$__interval": "5s",
    "$__range": "30s",
    "$datasource": "any",
    "$job": ".*",
    "$instance": ".*",
    "$route": ".*",
    "$upstream": ".*",
}


def expressions():
    """(panel, expression) of the whole dashboard."""
    dashboard = json.loads((DEPLOY / "grafana" / "sluice.json").read_text())
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]
    yield from _panel_expressions(dashboard["panels"])


def _panel_expressions(panels):
    for panel in panels:
        yield from _panel_expressions(panel.get("panels", []))
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def filled(expression):
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


class Application(http.server.BaseHTTPRequestHandler):
    """Answers, but gives up every third GET on a connection, so that it has to be tried again."""

    protocol_version = "HTTP/1.1"
    gets = 0

    def do_GET(self):
        self.gets += 1
        if self.gets == 3:
            self.close_connection = True
        else:
            self.answer()

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.answer()

    def answer(self):
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


def configuration(application, generation):
    return yaml.safe_dump(
        {
            "admin": {"listen": "127.0.0.1:0"},
            "server": {
                "listen": "127.0.0.1:0",
                "workers": 2,
                "upstreams": [
                    {"id": "app", "url": f"http://127.0.0.1:{application}"},
                    {"id": "dead", "url": "http://127.0.0.1:1"},
                ],
                "headers": [{"key": "x-generation", "value": str(generation)}],
                "rules": [{"path": "/dead", "upstreams": ["dead"]}, {"path": "/", "upstreams": ["app"]}],
            },
        }
    )


class Traffic(threading.Thread):
    """Requests of every kind until it is told to stop."""

    def __init__(self, address):
        super().__init__()
        self.host, self.stopped, self.requests = address, threading.Event(), 0

    def run(self):
        connection = http.client.HTTPConnection(self.host, timeout=20)
        while not self.stopped.wait(0.01):
            path = "/dead" if self.requests % 7 == 0 else "/"
            method, body = ("GET", None) if self.requests % 2 else ("POST", "x" * 1000)
            try:
                connection.request(method, path, body=body)
                connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                # A worker was killed with this connection.
                connection.close()
            self.requests += 1
        connection.close()


@needs(None if shutil.which("prometheus") else "no prometheus")
@needs(no_binary())
class Dashboard(unittest.TestCase):
    def test_every_expression_returns_data(self):
        directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        application = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Application)
        threading.Thread(target=application.serve_forever, daemon=True).start()
        self.addCleanup(application.server_close)
        self.addCleanup(application.shutdown)
        config = directory / "sluice.yaml"
        config.write_text(configuration(application.server_port, 1))
        sluice = self.enterContext(Sluice([BINARY, "run", "-c", config], dict(os.environ)))
        traffic = Traffic(sluice.address("listening"))
        traffic.start()
        self.addCleanup(traffic.join)
        self.addCleanup(traffic.stopped.set)
        query = self.prometheus(directory, sluice.address("admin listening"))
        eventually("it is scraped", lambda: query("sluice_build_info"))
        config.write_text(configuration(application.server_port, 2))
        os.kill(sluice.workers()[0], signal.SIGKILL)
        checked = 0
        for panel, expression in expressions():
            with self.subTest(panel, expression=expression):
                eventually(expression, lambda: query(filled(expression)), sluice.log)
                checked += 1
        self.assertGreater(checked, 20)

    def prometheus(self, directory, target):
        """A Prometheus that scrapes the target; gives a function that asks it."""
        settings = {
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [{"job_name": "sluice", "static_configs": [{"targets": [target]}]}],
        }
        (directory / "prometheus.yml").write_text(yaml.safe_dump(settings))
        address = f"127.0.0.1:{free_port()}"
        command = [
            "prometheus",
            f"--config.file={directory}/prometheus.yml",
            f"--storage.tsdb.path={directory}/data",
            f"--web.listen-address={address}",
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

        def query(expression):
            url = f"http://{address}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
            try:
                answer = json.load(urllib.request.urlopen(url, timeout=20))
            except OSError as error:
                # An expression that cannot be read is our fault; 503 is a Prometheus that starts.
                if isinstance(error, urllib.error.HTTPError) and error.code < 500:
                    raise AssertionError(error.read().decode()) from error
                return None
            return answer["data"]["result"]

        return query


def free_port():
    with socket.socket() as any_socket:
        any_socket.bind(("127.0.0.1", 0))
        return any_socket.getsockname()[1]


if __name__ == "__main__":
    unittest.main()
