"""Run a local server, and replace the facts of pretrained files."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from helpers.weights import CONTENT

from sair.weights.sources import known


@pytest.fixture
def server():
    """Return a local server: ``answers`` by path, the paths it was ``asked`` for, what it calls ``halfway``."""

    class Server(ThreadingHTTPServer):
        answers, asked, halfway = {"/good.pth": CONTENT, "/cut.pth": CONTENT}, [], staticmethod(lambda: None)

        @property
        def url(self):
            return f"http://127.0.0.1:{self.server_port}"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked.append(self.path)
            if self.path not in self.server.answers:
                self.send_error(404)
                return
            content = self.server.answers[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.server.halfway()
            if self.path != "/cut.pth":
                self.wfile.write(content[len(content) // 2 :])

        def log_message(self, *args):
            pass

    with Server(("127.0.0.1", 0), Handler) as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        served.shutdown()
        thread.join()


@pytest.fixture
def describe(nowhere):
    """Give an entry other facts than the published ones, whose files no test has."""

    def change(name, **facts):
        nowhere.setitem(known(), name, known()[name]._replace(**facts))

    return change
