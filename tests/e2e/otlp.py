"""A collector of OpenTelemetry: takes spans over OTLP's HTTP, and reads of them what tests ask for.

The format is protobuf, https://github.com/open-telemetry/opentelemetry-proto; the numbers of the
fields are those of trace.proto.
"""

import collections
import http.server
import threading

Span = collections.namedtuple("Span", "service name trace parent id attributes")


def fields(data):
    """The fields of a protobuf message, as pairs of number and value."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            value = varint()
        else:
            size = {1: 8, 2: None, 5: 4}[key & 7]
            size = varint() if size is None else size
            value = data[at:at + size]
            at += size
        yield key >> 3, value


def one(data, number, default=b""):
    """The last field of this number."""
    return dict(fields(data)).get(number, default)


def attributes(message, number):
    """The strings among the attributes of a message; numbers stay what they are."""
    pairs = [dict(fields(value)) for key, value in fields(message) if key == number]
    values = {pair[1].decode(): next(iter(fields(pair[2])), (0, b""))[1] for pair in pairs}
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in values.items()}


def spans_of(request):
    """The spans of an ExportTraceServiceRequest."""
    for _, resource_spans in fields(request):
        service = attributes(one(resource_spans, 1), 1).get("service.name")
        for number, scope_spans in fields(resource_spans):
            for kind, span in fields(scope_spans) if number == 2 else ():
                if kind == 2:
                    known = dict(fields(span))
                    yield Span(
                        service, known[5].decode(), known[1].hex(), known.get(4, b"").hex(),
                        known[2].hex(), attributes(span, 9))


class Collector:
    """Listens on a port of its own until it is closed."""

    def __init__(self):
        self.spans = []
        self.bodies = []
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            """Takes what is sent to the path of spans."""

            def do_POST(self):
                """Keeps the spans of a request."""
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.path == "/v1/traces":
                    collector.bodies.append(body)
                    collector.spans.extend(spans_of(body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                """Says nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        """Ends it."""
        self.server.shutdown()
        self.server.server_close()
