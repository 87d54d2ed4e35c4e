#!/usr/bin/env python3
"""test.py SERVER - asks the HTTP server for what it has, for what it has not, and for what is no request."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile

PATIENCE = 30  # seconds; an answer that takes longer is a failure
failed = 0


class Server:
    def __init__(self, program, folder, *options):
        self.process = subprocess.Popen([program, folder, "0", *options], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().split()[1])

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def ask(self, request):
        """Sends bytes and gives back all that comes until the server closes."""
        with self.connect() as s:
            s.sendall(request)
            return read_all(s)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        rest, _ = self.process.communicate(timeout=PATIENCE)
        return rest, self.process.returncode


def read_all(s):
    parts = []
    while part := s.recv(65536):
        parts.append(part)
    return b"".join(parts)


def read_answer(s):
    """Status, header and body of one answer."""
    got = b""
    while b"\r\n\r\n" not in got:
        part = s.recv(1)
        if not part:
            return None
        got += part
    head = got.decode().split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    body = b""
    while len(body) < int(fields["content-length"]):
        body += s.recv(int(fields["content-length"]) - len(body))
    return int(head[0].split()[1]), fields, body


def same(what, expected, found):
    global failed
    if expected != found:
        print(f"{what}: expected\n{expected!r:.500}\nbut found\n{found!r:.500}")
        failed = 1


def status(answer):
    return int(answer.split()[1]) if answer else 0


def get(path, more=""):
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode()


CLOSE = "Connection: close\r\n"


def check_answers(server, big):
    answer = server.ask(get("/", CLOSE))
    same("the folder's page", True, answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.endswith(b"\r\n\r\n<p>home"))
    same("its type", True, b"\r\nContent-Type: text/html; charset=utf-8\r\n" in answer)
    same("a large file", big, server.ask(get("/big", CLOSE)).partition(b"\r\n\r\n")[2])
    same("its type", True, b"application/octet-stream" in server.ask(get("/big", CLOSE)))
    same("an empty file", (200, b""), (lambda a: (status(a), a.partition(b"\r\n\r\n")[2]))(server.ask(get("/empty", CLOSE))))
    head = server.ask(b"HEAD /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    same("HEAD", True, f"Content-Length: {len(big)}".encode() in head and head.endswith(b"\r\n\r\n"))
    for path, expected in (("/sub/page.txt", 200), ("/sub%2fpage.txt", 200), ("/sub/p%61ge.txt?a=b", 200),
                           ("http://x/sub/page.txt", 200), ("/sub", 404), ("/sub/", 404), ("/none", 404),
                           ("/pipe", 404), ("/../secret", 403), ("/sub/../../secret", 403), ("/%2e%2e/secret", 403),
                           ("/..%2fsecret", 403), ("/out", 403), ("//etc/passwd", 404), ("/a%00b", 400),
                           ("/a%4", 400), ("/a%zz", 400), ("/" + "a" * 3000, 414)):
        same(path[:30], expected, status(server.ask(get(path, CLOSE))))


def check_bad_requests(server):
    for request, expected in ((b"nonsense\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
                              (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400), (b"GET /\x01 HTTP/1.1\r\n\r\n", 400),
                              (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
                              (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 5000, 431),
                              (b"DELETE / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405)):
        same(str(request[:20]), expected, status(server.ask(request)))
    same("half a request", b"", half(server))


def half(server):
    with server.connect() as s:
        s.sendall(b"GET / HT")
        s.shutdown(socket.SHUT_WR)
        return read_all(s)


def check_kept_connections(server, big):
    with server.connect() as s:
        for path, expected in (("/", 200), ("/none", 404), ("/big", 200), ("/", 200)):
            s.sendall(get(path))
            same(f"{path} on a kept connection", expected, read_answer(s)[0])
        s.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello" + get("/"))
        same("a method that is none of ours", (405, "get, head"), (lambda a: (a[0], a[1]["allow"]))(read_answer(s)))
        same("the request after its body", 200, read_answer(s)[0])
    with server.connect() as s:
        s.sendall((get("/") + get("/big") + get("/none")) * 10 + get("/", CLOSE))
        for i in range(10):
            same("pipelined", [(200, b"<p>home"), (200, big), (404, b"404 Not Found\n")], [read_answer(s)[::2] for _ in range(3)])
        same("the last of them", "close", read_answer(s)[1]["connection"])
        same("and then", None, read_answer(s))
    with server.connect() as s:
        for byte in get("/", CLOSE):
            s.sendall(bytes([byte]))
        same("a request in single bytes", 200, read_answer(s)[0])
    with server.connect() as s:
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        same("HTTP/1.0", (200, "close"), (lambda a: (a[0], a[1]["connection"]))(read_answer(s)))


def check_silence(server):
    with server.connect() as quiet, server.connect() as slow:
        slow.sendall(b"GET / HTTP/1.1\r\n")
        same("who says nothing", b"", read_all(quiet))
        same("who does not finish", b"", read_all(slow))


def check_stop(server, huge):
    """Who is being answered gets all of it; who only keeps the connection is let go."""
    with server.connect() as idle, server.connect() as busy:
        idle.sendall(get("/"))
        same("before the end", 200, read_answer(idle)[0])
        busy.sendall(get("/huge"))
        first = busy.recv(1)
        server.process.send_signal(signal.SIGINT)
        same("an idle connection at the end", b"", read_all(idle))
        same("an answer at the end", huge, (first + read_all(busy)).partition(b"\r\n\r\n")[2])
    same("stopping", ("stopped\n", 0), server.stop())


def main(program):
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place) / "site"
        (folder / "sub").mkdir(parents=True)
        big = os.urandom(300_000)
        huge = os.urandom(16_000_000)  # more than fits on the way
        (folder / "huge").write_bytes(huge)
        (pathlib.Path(place) / "secret").write_text("secret")
        (folder / "index.html").write_text("<p>home")
        (folder / "big").write_bytes(big)
        (folder / "empty").touch()
        (folder / "sub/page.txt").write_text("page")
        (folder / "out").symlink_to("../secret")
        os.mkfifo(folder / "pipe")
        for threads in "1", "3":
            server = Server(program, folder, threads)
            check_answers(server, big)
            check_bad_requests(server)
            check_kept_connections(server, big)
            check_stop(server, huge)
        server = Server(program, folder, "1", "0.2")
        check_silence(server)
        same("stopping", ("stopped\n", 0), server.stop())
    print("all as expected" if not failed else "see above")
    return failed


sys.exit(main(sys.argv[1]))
