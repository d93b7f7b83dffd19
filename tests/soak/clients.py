"""Those who ask: good ones, whose every answer is checked, and others, beside whom the good ones must not notice anything."""

import random
import socket
import ssl
import threading
import time

import client_store
import client_v1
import client_v1_1
import harness
import samples

#: In every text that is sent, and looked for on disk at the end.
MARKER = "soak-marker-7f3a91"

#: An answer later than this is none. Stopped workers are let go on well before.
PATIENCE_S = 60

#: From where strangers come: what they do must count for their address alone.
STRANGE_ADDRESS = "127.0.0.2"

#: What the service says where a worker has died or is not there.
WORKER_CODES = ("WORKER_FAILED", "NO_WORKER", "BUSY", "DEADLINE_EXCEEDED", "TIMEOUT", "SHUTTING_DOWN")

#: What it says of files that are none.
INPUT_CODES = ("MALFORMED_INPUT", "WRONG_TYPE", "UNKNOWN_TYPE", "LIMIT_EXCEEDED", "UNSUPPORTED")


def outcome_of(act):
    """Runs `act`, and puts into a word what it came to."""
    try:
        act()
    except client_v1.ServerError as error:
        return error.code, str(error)
    except AssertionError as error:
        return "wrong", str(error)[:500]
    except (ConnectionRefusedError, ConnectionAbortedError) as error:
        return "unreachable", repr(error)
    except TimeoutError as error:
        return "late", repr(error)
    except (client_v1.CutAnswer, ssl.SSLError, OSError, EOFError) as error:
        return "cut", repr(error)
    return "ok", ""


class Client(threading.Thread):
    """Asks again and again until it is told to stop."""

    def __init__(self, soak, name, seed):
        super().__init__(name=name, daemon=True)
        self.soak, self.random = soak, random.Random(seed)

    def run(self):
        while not self.soak.stopping.is_set():
            self.turn()
            self.soak.stopping.wait(self.random.expovariate(1 / self.pause_s))

    pause_s = 0.02


def worker_faults(faults):
    return any(span["kind"].startswith("worker") or span["kind"] == "network" for span in faults)


class Good(Client):
    """Converts right files through one master, over a connection a request or a kept one."""

    def __init__(self, soak, name, seed, master, version):
        super().__init__(soak, name, seed)
        self.master, self.version, self.kept = master, version, None
        self.conversions = list(samples.every_conversion())

    def turn(self):
        name, operation, body, judge = self.random.choice(self.conversions)
        if name == "text-to-pdf":
            lines = self.random.choice((1, 20, 2000, 20000))
            body = f"{MARKER} {self.random.random()}\n".encode() * lines

        def act():
            if self.version == "v1.0":
                result = client_v1.convert(
                    self.master.at, self.soak.context, harness.TOKEN, operation, body)
            else:
                result = self.connection().convert(operation, body)
            judge(result)
        outcome = self.soak.ledger.request(
            f"good, {self.version}, {self.master.name}", lambda: outcome_of(act), excuse=self.excuse)
        if outcome != "ok" and self.kept:
            self.kept.close()
            self.kept = None

    def connection(self):
        if self.kept is None or self.random.random() < 0.02:
            if self.kept:
                self.kept.close()
            self.kept = client_v1_1.Connection(self.master.at, self.soak.context, harness.TOKEN)
            self.kept.stream.settimeout(PATIENCE_S)
        return self.kept

    def excuse(self, outcome, faults):
        if any(span["target"] == self.master.name and span["kind"] == "master killed" for span in faults):
            return outcome in ("cut", "unreachable")
        # A worker that dies in the middle of its answer leaves it cut.
        return worker_faults(faults) and outcome in (*WORKER_CODES, "cut")


class Bad(Client):
    """Sends files that are damaged: an error that says so, or a result where the damage is harmless."""

    pause_s = 0.05

    def __init__(self, soak, name, seed, master):
        super().__init__(soak, name, seed)
        self.master = master
        self.conversions = list(samples.every_conversion())

    def turn(self):
        _, operation, body, _ = self.random.choice(self.conversions)
        body = bytearray(body)
        for _ in range(self.random.randrange(1, 30)):
            body[self.random.randrange(len(body))] = self.random.randrange(256)
        body = bytes(body[:self.random.randrange(1, len(body) + 1)])
        self.soak.ledger.request(
            "damaged files", lambda: outcome_of(lambda: client_v1.convert(
                self.master.at, self.soak.context, harness.TOKEN, operation, body)),
            allowed=INPUT_CODES,
            excuse=lambda outcome, faults: worker_faults(faults) and outcome in (*WORKER_CODES, "cut"))


class Hostile(Client):
    """Garbage, wrong tokens, half requests, silence. Nobody else may notice."""

    pause_s = 0.1

    def __init__(self, soak, name, seed, master):
        super().__init__(soak, name, seed)
        self.master, self.held = master, []

    def turn(self):
        self.random.choice((
            self.garbage, self.garbage_in_tls, self.wrong_token, self.half_a_request, self.silence))()
        self.soak.tally(self.name.partition(" ")[0])

    def connect(self):
        plain = socket.create_connection(self.master.at, timeout=5, source_address=(STRANGE_ADDRESS, 0))
        return plain

    def connect_tls(self):
        return self.soak.context.wrap_socket(self.connect(), server_hostname="127.0.0.1")

    def run(self):
        while not self.soak.stopping.is_set():
            try:
                self.turn()
            except (OSError, EOFError):
                # A refusal is what it comes for.
                pass
            self.soak.stopping.wait(self.random.expovariate(1 / self.pause_s))
        for stream in self.held:
            stream.close()

    def garbage(self):
        with self.connect() as stream:
            stream.sendall(self.random.randbytes(self.random.randrange(1, 5000)))

    def garbage_in_tls(self):
        with self.connect_tls() as stream:
            stream.sendall(self.random.randbytes(self.random.randrange(1, 5000)))

    def wrong_token(self):
        with self.connect_tls() as stream:
            stream.sendall(client_v1.request_header(b"", client_v1.TEXT_TO_PDF, "wrong", size=0))
            stream.recv(1000)

    def half_a_request(self):
        with self.connect_tls() as stream:
            stream.sendall(client_v1.request_header(
                b"", client_v1.TEXT_TO_PDF, harness.TOKEN, size=1_000_000) + bytes(1000))
            time.sleep(self.random.random())

    def silence(self):
        self.held.append(self.connect())
        if len(self.held) > 50:
            self.held.pop(0).close()


class Slow(Client):
    """Sends its request in small pieces, and is served all the same."""

    def __init__(self, soak, name, seed, master):
        super().__init__(soak, name, seed)
        self.master = master

    def turn(self):
        body = f"{MARKER} slowly\n".encode() * 50
        wire = client_v1.request_header(body, client_v1.TEXT_TO_PDF, harness.TOKEN) + body

        def act():
            with client_v1.connect(self.master.at, self.soak.context, PATIENCE_S) as stream:
                for start in range(0, len(wire), 100):
                    stream.sendall(wire[start:start + 100])
                    time.sleep(self.random.random() / 10)
                answer = client_v1.read_answer(stream)
            error = client_v1.parse_error(answer)
            if error:
                raise error
            samples.check_pdf(answer)
        self.soak.ledger.request(
            "slow", lambda: outcome_of(act),
            excuse=lambda outcome, faults: worker_faults(faults) and outcome in (*WORKER_CODES, "cut"))


class Keeper(Client):
    """Keeps files in the store, each its own, and knows what each must be."""

    pause_s = 0.05

    def __init__(self, soak, name, seed, store):
        super().__init__(soak, name, seed)
        self.store, self.files = store, {}

    def turn(self):
        name = f"{self.name[-2:].strip()}-{self.random.randrange(20)}"
        if name in self.files and self.random.random() < 0.6:
            self.check(name)
        else:
            self.put(name)

    def ask(self, act, allowed=()):
        return self.soak.ledger.request(
            "store", lambda: outcome_of(act), allowed,
            lambda outcome, faults: outcome in ("cut", "unreachable", "REFUSED") and any(
                span["kind"].startswith(("store", "disk", "network")) for span in faults))

    def put(self, name):
        content = self.random.randbytes(self.random.choice((10, 1000, 100_000)))
        # Until the answer is here it may be either.
        before = self.files.get(name, {None})
        self.files[name] = before | {content}

        def act():
            with client_store.Client(self.store.at, timeout=PATIENCE_S) as client:
                code = client.put(name, content)
            if code:
                raise client_v1.ServerError("REFUSED", f"code {code}")
        outcome = self.ask(act)
        if outcome == "ok":
            self.files[name] = {content}
        elif outcome == "REFUSED":
            self.files[name] = before

    def check(self, name):
        def act():
            with client_store.Client(self.store.at, timeout=PATIENCE_S) as client:
                found = client.get(name)
            if found == client_store.NOT_FOUND:
                found = None
            if isinstance(found, int):
                raise client_v1.ServerError("REFUSED", f"code {found}")
            if found not in self.files[name]:
                raise AssertionError(f"{name} is none of {len(self.files[name])} contents that it may be")
            self.files[name] = {found}
        self.ask(act)

    def check_all(self):
        """At the end, when nothing is in its way."""
        for name in self.files:
            self.check(name)
