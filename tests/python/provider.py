"""A provider in the test's own process: each request gets the next reply of a script."""

import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Reply:
    """What one request is answered with.

    `body` is bytes, text, or anything for JSON. With `events` (bytes each) it is a stream, sent in
    chunks; a `threading.Event` among them is waited for. With `broken` the connection is closed
    where the end would be.
    """

    def __init__(self, body=b"", *, status=200, headers=None, events=None, broken=False):
        if isinstance(body, str):
            body = body.encode()
        elif not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.status = status
        self.body = body
        self.events = events
        self.broken = broken
        kind = "application/json" if events is None else "text/event-stream; charset=utf-8"
        self.headers = {"content-type": kind, **(headers or {})}


class Silence:
    """No reply at all, until `over` is set."""

    def __init__(self):
        self.over = threading.Event()


class Seen:
    """A request as it came."""

    def __init__(self, handler, body):
        self.method = handler.command
        self.path = handler.path
        self.headers = {name.lower(): value for name, value in handler.headers.items()}
        self.body = body

    def json(self):
        return json.loads(self.body)


class Server(ThreadingHTTPServer):
    # Enough for all who connect at once; what is over it waits for a second.
    request_queue_size = 256


class Provider:
    """A server on a free port. A request for which no reply is left is answered with 418."""

    def __init__(self):
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):
                provider.answer(self)

            def do_GET(self):
                if self.path == "/health":
                    send(self, Reply(status=200 if provider.healthy else 500))
                else:
                    provider.answer(self)

            do_DELETE = do_PUT = do_GET

            def log_message(self, *_):
                pass

        self.healthy = True
        self.seen = []
        self._replies = queue.SimpleQueue()
        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def script(self, *replies):
        """Says what the next requests are answered with, in order."""
        for reply in replies:
            self._replies.put(reply)

    def receive(self, handler):
        """Reads a request, and remembers it."""
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        seen = Seen(handler, body)
        self.seen.append(seen)
        return seen

    def answer(self, handler):
        self.receive(handler)
        try:
            reply = self._replies.get_nowait()
        except queue.Empty:
            reply = Reply({"error": {"message": "no reply is scripted"}}, status=418)
        if isinstance(reply, Silence):
            reply.over.wait(timeout=60)
            handler.close_connection = True
        else:
            send(handler, reply)

    def stop(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def send(handler, reply):
    handler.send_response(reply.status)
    for name, value in reply.headers.items():
        handler.send_header(name, value)
    streamed = reply.events is not None
    if streamed:
        handler.send_header("transfer-encoding", "chunked")
    else:
        missing = 1 if reply.broken else 0
        handler.send_header("content-length", str(len(reply.body) + missing))
    handler.end_headers()
    for event in reply.events or []:
        if isinstance(event, threading.Event):
            event.wait(timeout=60)
        else:
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
    if reply.broken:
        handler.close_connection = True
    else:
        handler.wfile.write(b"0\r\n\r\n" if streamed else reply.body)


def sse(data, name=None):
    """One event of a stream."""
    text = data if isinstance(data, str) else json.dumps(data)
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {text}\n\n".encode()
