"""A real web server on this machine that answers as it is told, faults included."""

import re
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOGIN = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body><input type='password'></body></html>"


class Web:
    """A server. Each request gets the next of `answers`, and the last of them again and again."""

    def __init__(self, scheme="http"):
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                with web.turn:
                    number = len(web.asked)
                    web.asked.append((self.path, dict(self.headers)))
                web.answers[min(number, len(web.answers) - 1)](self)

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):  # a client that hangs up is part of the game
                pass

        self.answers = []
        self.asked = []
        self.turn = threading.Lock()
        self.server = Server(("127.0.0.1", 0), Handler)
        self.root = f"{scheme}://127.0.0.1:{self.server.server_port}"
        self.url = f"{self.root}/archive.zip"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def headers(self, number):
        return self.asked[number][1]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def serving(**options):
    web = Web(**options)
    try:
        yield web
    finally:
        web.close()


def sends(data, *, etag='"one"', modified=None, ranges=True, heeds_if_range=True, cut=None, length=None, slowly=0.0):
    """A file. `cut`: bytes after which the connection breaks; `length`: what is announced; `slowly`: s a 64 kB."""

    def answer(request):
        start = 0
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        same = request.headers.get("If-Range") in (None, etag, modified)
        if ranges and asked and (same or not heeds_if_range):
            start = int(asked[1])
        if start >= len(data):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(data)}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if length != "none":
            request.send_header("Content-Length", str(length if length else len(data) - start))
        if etag:
            request.send_header("ETag", etag)
        if modified:
            request.send_header("Last-Modified", modified)
        request.send_header("Content-Type", "application/zip")
        request.end_headers()
        body = data[start : len(data) if cut is None else max(start, cut)]
        for at in range(0, len(body), 1 << 16):
            request.wfile.write(body[at : at + (1 << 16)])
            request.wfile.flush()
            time.sleep(slowly)
        request.close_connection = True

    return answer


def status(code, body=b"", **headers):
    def answer(request):
        request.send_response(code)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


def page(body, kind="text/html; charset=utf-8", code=200):
    return status(code, body, Content_Type=kind)


def waits(seconds):
    def answer(request):
        time.sleep(seconds)

    return answer
