"""Asks a server of pages as a browser, or somebody else, might."""

import json
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlsplit


def ask(url, path="/", method="GET", body=None, **headers):
    """Return the status, the headers and the text of an answer; names of headers have _ for -."""
    place = urlsplit(url)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with closing(HTTPConnection(place.hostname, place.port, timeout=20)) as connection:
        connection.request(method, path, body, named)
        with connection.getresponse() as answer:
            return answer.status, answer.headers, answer.read().decode()


def post(url, path, value, **headers):
    """Post a JSON value, or a text that need be none; return the status and the value of the answer."""
    body = value if isinstance(value, str) else json.dumps(value)
    status, _, text = ask(url, path, "POST", body, **{"Content_Type": "application/json"} | headers)
    return status, json.loads(text)
