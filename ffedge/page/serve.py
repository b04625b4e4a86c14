"""A small server of pages on this machine alone (127.0.0.1), which other sites in a browser cannot speak to.

A request must name this machine as its host, so that no foreign name that leads here is answered (DNS rebinding);
what is posted must be JSON and, from a browser, come from a page of this server. Bodies, waiting and the number of
requests at once are bounded.
"""

import socketserver
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Self

from ffedge import json_text
from ffedge.errors import FfedgeError, one_line

HOST, NAMES = "127.0.0.1", ("127.0.0.1", "localhost")
WAIT_S, AT_ONCE = 10, 16
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; script-src 'self'; connect-src 'self'"
HEADERS = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
TYPES = {"html": "text/html; charset=utf-8", "js": "text/javascript; charset=utf-8", "json": "application/json"}
Get = Mapping[str, Callable[[], str]]
Post = Mapping[str, Callable[[Any], Any]]


class Site(socketserver.ThreadingTCPServer):
    """Answers while it is entered, in threads of its own that end with the process.

    Parameters
    ----------
    port : 0 takes a free one.
    get : what makes the text of each path; one that ends in ``.js`` is a script, others are pages.
    post : what makes a JSON value of a JSON value, of each path; its ValueError or FfedgeError is told in a line.
    most_bytes : of what is posted.

    Raises
    ------
    FfedgeError
        The port cannot be had.
    """

    allow_reuse_address, daemon_threads, request_queue_size = True, True, AT_ONCE

    def __init__(self, port: int, get: Get, post: Post | None = None, most_bytes: int = 0) -> None:
        self.get, self.post, self.most_bytes = get, post or {}, most_bytes
        self._places = threading.Semaphore(AT_ONCE)
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise FfedgeError(f"port {port} cannot be had ({error.strerror}). Choose another one") from error

    @property
    def url(self) -> str:
        """Of its first page."""
        return f"http://{HOST}:{self.server_address[1]}/"

    def __enter__(self) -> Self:
        """Begin to answer."""
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Answer no more."""
        self.shutdown()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, or turn away what is too much at once."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing where a browser has gone, or was too slow."""
        import sys

        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Refused(Exception):
    """A request that is not answered: the status, and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Site
    timeout = WAIT_S
    error_message_format, error_content_type = "%(message)s\n", "text/plain; charset=utf-8"

    def do_GET(self) -> None:
        self._answer(self._got)

    def do_POST(self) -> None:
        self._answer(self._posted)

    def version_string(self) -> str:
        """Say no more than needed."""
        return "ffedge"

    def log_message(self, *_: object) -> None:
        """Say nothing: the terminal is the command's."""

    def _answer(self, make: Callable[[], tuple[str, str]]) -> None:
        try:
            host = self.headers.get("Host", "")
            if host.rpartition(":")[0] not in NAMES and host not in NAMES:
                raise _Refused(403, f"this server is {HOST} and answers to no other name")
            status, (kind, text) = 200, make()
        except _Refused as refused:
            status, kind, text = refused.status, "json", json_text.text({"error": str(refused)})
        except (FfedgeError, ValueError) as error:
            status, kind, text = 400, "json", json_text.text({"error": one_line(str(error))})
        body = text.encode("utf-8", "backslashreplace")
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": TYPES[kind], "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _got(self) -> tuple[str, str]:
        path = self.path.partition("?")[0]
        if path not in self.server.get:
            raise _Refused(404, "there is nothing here")
        return "js" if path.endswith(".js") else "html", self.server.get[path]()

    def _posted(self) -> tuple[str, str]:
        if self.path not in self.server.post:
            raise _Refused(404, "there is nothing here")
        if self.headers.get("Origin", f"http://{self.headers['Host']}") != f"http://{self.headers['Host']}":
            raise _Refused(403, "only a page of this server may post to it")
        if self.headers.get_content_type() != "application/json":
            raise _Refused(415, "what is posted must be application/json")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal()):
            raise _Refused(411, "what is posted must say its length")
        if len(length) > 12 or int(length) > self.server.most_bytes:
            left = int(length) if len(length) < 9 else 0
            while left and (part := self.rfile.read(min(left, 1 << 16))):
                left -= len(part)  # a browser that is cut off while it sends would not read the answer
            raise _Refused(413, f"what is posted must have at most {self.server.most_bytes} bytes")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise _Refused(400, "what is posted ends too early")
        return "json", json_text.text(self.server.post[self.path](json_text.parse(body.decode())))


def script(name: str) -> str:
    """Return a script of this folder."""
    return Path(__file__).with_name(name).read_text()
