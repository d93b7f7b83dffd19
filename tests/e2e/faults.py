"""What the fault tests share: traffic that must not notice, and rest that must be reached again."""

import socket
import ssl
import struct
import threading

import client_v1
import client_v1_1
import harness
import samples
import standins

#: Clients of the traffic: of v1.0, which connect for every request, and of v1.1, which stay.
CLIENTS = 4

#: What a request of the traffic is: small, so that there are many.
BODY = samples.TEXT.encode()


class Traffic:
    """Requests that go on beside a fault. Leaving it raises if one of them has failed.

    `allowed` says of a failure whether it is part of the fault; it is counted, and no more.
    """

    def __init__(self, address, context, clients=CLIENTS, allowed=lambda error: False):
        self.address, self.context, self.allowed = address, context, allowed
        self.stopping = threading.Event()
        self.counted = threading.Condition()
        self.answered, self.excused, self.failures = 0, [], []
        self.threads = [
            threading.Thread(target=self._client, args=(number,), daemon=True)
            for number in range(clients)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        self.goes_on(len(self.threads))
        return self

    def __exit__(self, kind, *_):
        self.end()
        if kind is None and self.failures:
            raise AssertionError(
                f"{len(self.failures)} requests beside the fault failed: {self.failures[:3]}")

    def end(self):
        """Lets every client finish its request."""
        self.stopping.set()
        for thread in self.threads:
            thread.join(2 * harness.PATIENCE_S)
            if thread.is_alive():
                raise AssertionError("a client still waits for its answer")

    def goes_on(self, requests=10):
        """Waits for further answers. Returns at once where there will be none."""
        with self.counted:
            wanted = self.answered + requests
            self.counted.wait_for(
                lambda: self.answered >= wanted or self.failures, harness.PATIENCE_S)
            if self.answered < wanted and not self.failures:
                raise AssertionError(f"{self.answered} of {wanted} requests were answered")

    def _client(self, number):
        kept = None
        while not self.stopping.is_set():
            try:
                if number % 2:
                    result = client_v1.convert(
                        self.address, self.context, harness.TOKEN, client_v1.TEXT_TO_PDF, BODY)
                else:
                    kept = kept or client_v1_1.Connection(
                        self.address, self.context, harness.TOKEN)
                    result = kept.convert(client_v1.TEXT_TO_PDF, BODY)
                samples.check_pdf(result)
                self._count()
            except Exception as error:
                if kept:
                    kept.close()
                kept = None
                if not self._forgive(error):
                    return
        if kept:
            kept.close()

    def _count(self):
        with self.counted:
            self.answered += 1
            self.counted.notify_all()

    def _forgive(self, error):
        with self.counted:
            is_allowed = self.allowed(error)
            (self.excused if is_allowed else self.failures).append(repr(error))
            self.counted.notify_all()
            return is_allowed


class Case(harness.Case):
    """Servers that are looked at before a fault, and must be as they were after it."""

    def setUp(self):
        super().setUp()
        harness.raise_fd_limit()
        self.as_master = client_v1.tls_context(
            self.certs / "ca.pem", (self.certs / "client.pem", self.certs / "client.key"))

    def connection(self, server):
        """A connection of a client that the server trusts."""
        context = self.as_master if server.name == "worker" else self.context
        return client_v1_1.Connection(server.address(), context, harness.TOKEN)

    def status(self, server, connection=None):
        """What a server says of itself, by key, on `connection` or on one of its own."""
        if connection is None:
            with self.connection(server) as connection:
                return self.status(server, connection)
        text = connection.convert(client_v1_1.STATUS, b"").decode()
        lines = dict(line.split("=", 1) for line in text.splitlines())
        return {key: int(value) if value.isdigit() else value for key, value in lines.items()}

    def own_fds(self, server):
        """Descriptors but for connections: clients', and those that a pool keeps for workers."""
        with self.connection(server) as asking:
            status = self.status(server, asking)
            # Before the connection that asked is closed: it is one of those that are open.
            fds = len(server.fds())
        kept = status["upstream_opened"] - status["upstream_retired"] if server.name == "master" else 0
        return fds - kept - status["connections_open"]

    def at_rest(self, *servers):
        """What is to be reached again; call it where nothing is going on."""
        for server in servers:
            harness.eventually(
                f"the {server.name} is at rest", lambda server=server: self.is_quiet(server))
        return {server: self.own_fds(server) for server in servers}

    def is_quiet(self, server):
        """Nothing in flight, all buffers there, and nobody connected but who asks this.

        A worker's clients are the connections that masters keep, of which there may be any number.
        """
        status = self.status(server)
        clients = status["connections_open"] if server.name == "master" else 1
        return (status["in_flight"], status["in_flight_bytes"], clients) == (0, 0, 1) \
            and status["buffers_free"] == status["buffers_pooled"] > 0

    def check_rest(self, before):
        """Waits until all servers are as they were in `before`."""
        for server, fds in before.items():
            try:
                harness.eventually("rest", lambda server=server: self.is_quiet(server))
                harness.eventually(
                    "descriptors", lambda server=server, fds=fds: self.own_fds(server) <= fds)
            except AssertionError:
                raise AssertionError(
                    f"the {server.name} is not as it was: {self.status(server)}, "
                    f"{self.own_fds(server)} descriptors of its own instead of {fds}: "
                    f"{sorted(server.fds().values())}") from None

    def traffic(self, address, **options):
        """Requests that must not notice what the test does."""
        return Traffic(address, self.context, **options)


def reset(stream):
    """Closes with RST."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.close()


def cut(stream):
    """Closes with FIN, and without close_notify."""
    stream.close()


def close_notify(stream):
    """Closes as TLS has it, without waiting for the other side."""
    stream.settimeout(0)
    try:
        stream.unwrap()
    except OSError:
        pass
    stream.close()


class Worker(standins.StandIn):
    """A worker of v1.1 that converts nothing, keeps its connections, and fails where it is told.

    A body that begins with `fault STAGE` makes it leave at that stage, by `self.leave`; all others
    are answered by a PDF's frame.
    """

    RESULT = b"%PDF-1.4\nxref\nstartxref\n9\n%%EOF\n"
    STAGES = ("in the body", "before the answer", "in the answer's head", "in the answer")

    #: Bytes that make a body of the fault longer than what is on its way at once.
    FILLING = bytes(300_000)

    def __init__(self, certs):
        self.leave = reset
        #: How an answer is sent; the tests of records make many of it.
        self.send = lambda stream, data: stream.sendall(data)
        super().__init__(certs)
        self.context.load_verify_locations(certs / "ca.pem")
        self.context.verify_mode = ssl.CERT_OPTIONAL

    @classmethod
    def faulty_body(cls, stage):
        """A body that makes the worker leave at `stage`."""
        return f"fault {stage}.".encode() + cls.FILLING

    def handle(self, stream):
        while self.answer_one(stream):
            pass

    def answer_one(self, stream):
        """Whether the connection goes on."""
        try:
            head = client_v1.read_exact(stream, client_v1.HEADER.size)
        except client_v1.CutAnswer:
            return False
        *_, size, operation = client_v1.HEADER.unpack(head)
        client_v1.read_exact(stream, operation >> 16)
        if operation & 0xFFFF == client_v1_1.STATUS:
            return self.reply(stream, b"role=worker\nslots=1\nbusy=0\nqueued=0\nlost=0\n")
        start = client_v1.read_exact(stream, min(size, 64))
        stage = start.partition(b".")[0].removeprefix(b"fault ").decode("latin-1")
        if stage not in self.STAGES:
            client_v1.read_exact(stream, size - len(start))
            return self.reply(stream, self.RESULT)
        if stage != "in the body":
            client_v1.read_exact(stream, size - len(start))
        if stage == "in the answer's head":
            stream.sendall(b"v1.1" + bytes(10))
        if stage == "in the answer":
            stream.sendall(self.head(self.FILLING) + self.FILLING[:1000])
        self.leave(stream)
        raise ConnectionAbortedError(stage)

    @staticmethod
    def head(body):
        """The head of a good answer."""
        digest = client_v1_1.hashlib.md5(body).digest()
        return client_v1_1.ANSWER.pack(b"v1.1", 0, digest, len(body), 0, 1)

    def reply(self, stream, body):
        """A good answer."""
        self.send(stream, self.head(body) + body)
        return True
