"""The server of pages answers this machine alone, bounds what it takes, and says in a line what it refuses."""

import json
import socket
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import pytest

from ffedge.errors import FfedgeError
from ffedge.page.serve import AT_ONCE, Site
from tests.page.web import ask, post


def doubled(value):
    if not isinstance(value, int):
        raise ValueError("must be a whole number\nof two lines")
    return value * 2


@pytest.fixture
def url():
    with Site(0, {"/": lambda: "<p>here", "/a.js": lambda: "1"}, {"/double": doubled}, most_bytes=100) as site:
        yield site.url


def test_pages_are_served_on_loopback_with_a_policy(url):
    assert url.startswith("http://127.0.0.1:")
    status, headers, text = ask(url)
    assert (status, text) == (200, "<p>here")
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in headers
    assert ask(url, "/a.js")[1]["Content-Type"].startswith("text/javascript")
    assert ask(url, "/?x=1")[0] == 200


@pytest.mark.parametrize("name", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[::1]:80"])
def test_a_foreign_name_that_leads_here_is_refused(url, name):
    for method, path in (("GET", "/"), ("POST", "/double")):
        status, _, text = ask(url, path, method, "1", Host=name, Content_Type="application/json")
        assert status == 403
        assert json.loads(text) == {"error": "this server is 127.0.0.1 and answers to no other name"}


@pytest.mark.parametrize("name", ["localhost", "localhost:9999", "127.0.0.1:1"])
def test_this_machine_s_names_are_answered_also_through_a_tunnel(url, name):
    assert ask(url, Host=name)[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/../serve.py", 404), ("GET", "/double", 404), ("POST", "/", 404), ("PUT", "/", 501), ("HEAD", "/", 501)],
)
def test_what_is_not_there_is_refused(url, method, path, status):
    found, _, text = ask(url, path, method, Content_Type="application/json")
    assert found == status
    assert len(text.splitlines()) <= 1


def test_json_is_posted_and_answered(url):
    assert post(url, "/double", 21) == (200, 42)
    place = urlsplit(url).netloc
    assert post(url, "/double", 21, Origin=f"http://{place}") == (200, 42)


@pytest.mark.parametrize(
    ("value", "headers", "status", "why"),
    [
        (1, {"Origin": "http://evil.example"}, 403, "only a page of this server"),
        (1, {"Origin": "null"}, 403, "only a page of this server"),
        (1, {"Origin": "http://127.0.0.1:1"}, 403, "only a page of this server"),
        (1, {"Content_Type": "text/plain"}, 415, "application/json"),
        (1, {"Content_Type": "application/x-www-form-urlencoded"}, 415, "application/json"),
        ("9" * 101, {}, 413, "at most 100 bytes"),
        ("1", {"Content_Length": "9" * 5000}, 413, "at most 100 bytes"),
        ("1", {"Content_Length": "-1"}, 411, "length"),
        ("1", {"Content_Length": "١"}, 411, "length"),
        ("[", {}, 400, "Expecting value"),
        ("[" * 50 + "]" * 50, {}, 400, "nested too deeply"),
        (b"\xff", {}, 400, "utf-8"),
        ('"x"', {}, 400, "must be a whole number\\nof two lines"),
    ],
)
def test_what_is_posted_from_elsewhere_or_too_much_or_no_json_is_refused_in_a_line(url, value, headers, status, why):
    if isinstance(value, bytes) or "١" in headers.values():
        length = str(len(value)) if isinstance(value, bytes) else headers["Content_Length"]
        found, text = raw(url, length.encode("utf-8"), value if isinstance(value, bytes) else value.encode())
        told = json.loads(text)
    else:
        found, told = post(url, "/double", value, **headers)
    assert found == status
    assert set(told) == {"error"}
    assert why in told["error"]
    assert "\n" not in told["error"]


def raw(url, length, body):
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), timeout=20) as connection:
        head = b"POST /double HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
        connection.sendall(head + length + b"\r\n\r\n" + body)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b"")).decode()
    return int(answer.split()[1]), answer.partition("\r\n\r\n")[2]


def test_a_body_that_ends_too_early_is_refused(url):
    status, text = raw(url, b"50", b"1")
    assert (status, json.loads(text)) == (400, {"error": "what is posted ends too early"})


def ask_while_more_wait(url, place, idle):
    for _ in range(1000):  # one may come while the last answer's place is still taken, and be turned away
        idle.enter_context(socket.create_connection((place.hostname, place.port)))
        ask(url)


def test_who_connects_and_says_nothing_keeps_nobody_out_and_too_many_are_turned_away(url):
    place = urlsplit(url)
    with ExitStack() as idle:
        for _ in range(AT_ONCE - 1):
            idle.enter_context(socket.create_connection((place.hostname, place.port)))
        assert ask(url)[0] == 200
        with pytest.raises(OSError, match=r"reset|Remote end closed"):
            ask_while_more_wait(url, place, idle)
    for _ in range(1000):
        try:
            assert ask(url)[0] == 200
            return
        except OSError:
            continue
    pytest.fail("it never answered again")


def test_a_browser_that_goes_away_is_no_matter(url, capfd):
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port)) as connection:
        connection.sendall(b"POST /double HTTP/1.1\r\nHost: localhost\r\n")
    assert ask(url)[0] == 200
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\xff\x80\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET " + b"/" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n",
        b"POST /double HTTP/1.1\r\nHost: localhost\r\nContent-Type: ;;;=\r\nContent-Length: 1\r\n\r\n1",
        b"POST /double HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n",
        b"POST /double HTTP/1.1\r\nHost: localhost\r\nOrigin:\r\nContent-Type: application/json\r\n\r\n",
    ],
)
def test_what_is_no_request_disturbs_nobody(url, capfd, sent):
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), timeout=20) as connection, suppress(OSError):
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        assert b"200" not in answer.partition(b"\r\n")[0]
    assert ask(url)[0] == 200
    assert capfd.readouterr().err == ""


def test_a_port_that_is_taken_is_told_in_a_line(url):
    with pytest.raises(FfedgeError, match=r"port \d+ cannot be had \(Address already in use\). Choose another one"):
        Site(urlsplit(url).port, {})


def test_once_it_is_left_nobody_answers():
    with Site(0, {"/": lambda: "x"}) as site:
        ask(site.url)
    with pytest.raises(ConnectionRefusedError):
        ask(site.url)
