"""Who is let onto a queue, and what files of a batch may lie in: NATS over TLS, with passwords, tokens and credentials; a file store."""

import base64
import importlib.util
import json
import os
import time
import unittest

import harness
import nats
import samples

FILES = 5

#: Limits of an account that make JetStream its own where they are there.
STREAMS = ("mem_storage", "disk_storage", "streams", "consumer")


@unittest.skipUnless(nats.has_server(), "needs nats-server")
class Access(harness.Case):
    """A server that asks who comes, and a job over it from a directory to a directory."""

    def setUp(self):
        super().setUp()
        self.source, self.target = self.dir / "in", self.dir / "out"
        self.source.mkdir()
        for number in range(FILES):
            (self.source / f"{number}.png").write_bytes(samples.PICTURES["png"])

    def start_nats(self, settings):
        """One server, with these lines in its configuration."""
        server = nats.Cluster(1, settings)
        self.addCleanup(server.end)
        return server.clients[0]

    def submit(self, url, *args):
        """Puts the job on a queue, or is refused."""
        return harness.run("batch", "submit", self.source, self.target, "--to", "jpg", "--job", "one",
                           "--nats", url, *args, check=False, timeout=60)

    def check_job(self, url, *args):
        """A submission, a worker, and a master that finds it, by the same URL."""
        done = self.submit(url, *args)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        worker = self.start_worker("--queue", url, "--queue-allow", self.dir, "--announce", url, *args)
        watched = harness.run("batch", "watch", "one", "--nats", url, *args, timeout=60)
        self.assertEqual(watched.stdout, b"")
        self.assertEqual(len(list(self.target.iterdir())), FILES)
        samples.check_picture((self.target / "0.jpg").read_bytes(), "jpg")
        master = self.start("master", "--listen", "127.0.0.1:0", "--certs", self.certs, "--token-file",
                            self.token_file, "--workers-nats", url, *args)
        result = self.convert_v1_1(master.address(), samples.TO_JPG, samples.PICTURES["png"])
        samples.check_picture(result, "jpg")
        return worker, master

    def check_refused(self, url, *args, secret=None):
        """Somebody who is not let in hears so, and no secret is told."""
        done = self.submit(url, *args)
        words = done.stderr.decode()
        self.assertEqual((done.returncode, done.stdout), (3, b""), words)
        self.assertIn("cannot reach NATS", words)
        if secret:
            self.assertNotIn(secret, words)

    def test_a_queue_over_tls(self):
        certs = f'tls {{ cert_file: "{self.certs}/server.pem", key_file: "{self.certs}/server.key" }}\n'
        port = self.start_nats(certs)
        ca, another = self.certs / "ca.pem", self.make_certs("another") / "ca.pem"
        self.check_job(f"tls://localhost:{port}", "--nats-ca", ca)
        # A server that asks for TLS gets it without being called so.
        done = harness.run("batch", "status", "one", "--json", "--nats", f"nats://localhost:{port}", "--nats-ca", ca)
        self.assertEqual(json.loads(done.stdout)["done"], FILES)
        self.check_refused(f"tls://localhost:{port}", "--nats-ca", another)
        self.check_refused(f"tls://localhost:{port}")
        self.check_refused(f"nats://localhost:{port}")

    def test_a_server_without_tls_is_not_spoken_to_in_plain(self):
        port = self.start_nats('authorization { token: "s3cret-token" }\n')
        for url in (f"tls://s3cret-token@localhost:{port}", f"nats://s3cret-token@localhost:{port}"):
            self.check_refused(url, "--nats-ca", self.certs / "ca.pem", secret="s3cret-token")

    def test_a_name_and_a_password(self):
        port = self.start_nats('authorization { user: "batch user", password: "p@ss:w/rd%" }\n')
        worker, master = self.check_job(f"nats://batch%20user:p%40ss%3Aw%2Frd%25@127.0.0.1:{port}")
        for server in (worker, master):
            self.assertNotIn("p@ss", server.log())
            self.assertNotIn("p%40ss", server.log())
        self.check_refused(f"nats://batch%20user:wr0ng-one@127.0.0.1:{port}", secret="wr0ng-one")
        self.check_refused(f"nats://127.0.0.1:{port}")

    def test_a_token(self):
        port = self.start_nats('authorization { token: "s3cret-token" }\n')
        self.check_job(f"nats://s3cret-token@127.0.0.1:{port}")
        self.check_refused(f"nats://an0ther-one@127.0.0.1:{port}", secret="an0ther-one")

    def test_a_file_of_credentials(self):
        if not importlib.util.find_spec("cryptography"):
            self.skipTest("needs cryptography, which moto brings")
        operator, account, system, user = (KeyPair(kind) for kind in "OAAU")
        settings = "".join((
            f"operator: {operator.operator()}\nresolver: MEMORY\nsystem_account: {system.public}\n",
            f"resolver_preload: {{ {account.public}: {operator.account(account, *STREAMS)}, ",
            f"{system.public}: {operator.account(system)} }}\n"))
        creds = self.dir / "nats.creds"
        creds.write_text(user.creds(account.user(user)))
        creds.chmod(0o600)
        if b"nats-creds" in self.submit("nats://127.0.0.1:1", "--nats-creds", creds).stderr:
            self.skipTest("this build reads no files of credentials: --features nats-creds")
        port = self.start_nats(settings)
        self.check_job(f"nats://127.0.0.1:{port}", "--nats-creds", creds)
        stranger = KeyPair("A")
        creds.write_text(user.creds(stranger.user(user)))
        self.check_refused(f"nats://127.0.0.1:{port}", "--nats-creds", creds, secret=user.seed)

    def test_files_of_a_store(self):
        root = self.dir / "root"
        root.mkdir()
        for number in range(FILES):
            (root / f"{number}.png").write_bytes(samples.PICTURES["png"])
        store = self.start("store", "--root", root, "--listen", "127.0.0.1:0", "--certs", self.certs)
        manifest = self.dir / "list"
        manifest.write_text("".join(f"store:{number}.png\n" for number in range(FILES)))
        self.source, self.target = manifest, "store:"
        url = f"nats://127.0.0.1:{self.start_nats('')}"
        self.assertEqual(self.submit(url).returncode, 0)
        host, port = store.address()
        self.start_worker("--queue", url, "--queue-allow", "store:", "--store", f"{host}:{port}",
                          "--store-ca", self.certs / "ca.pem")
        harness.run("batch", "watch", "one", "--nats", url, timeout=60)
        for number in range(FILES):
            samples.check_picture((root / f"{number}.jpg").read_bytes(), "jpg")

    def test_a_worker_that_may_touch_a_store_says_which(self):
        done = harness.run("worker", "--listen", "127.0.0.1:0", "--certs", self.certs, "--queue",
                           "nats://127.0.0.1:1", "--queue-allow", "store:", check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("--store-ca", done.stderr.decode())


class KeyPair:
    """An Ed25519 key as NATS writes it, and the claims that are signed with it."""

    PREFIXES = {"O": 14 << 3, "A": 0, "U": 20 << 3}
    SEED_PREFIX = 18 << 3

    def __init__(self, kind):
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        seed, prefix = os.urandom(32), self.PREFIXES[kind]
        self.key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = base32(bytes([prefix]) + self.key.public_key().public_bytes_raw())
        self.seed = base32(bytes([self.SEED_PREFIX | prefix >> 5, (prefix & 31) << 3]) + seed)

    def operator(self):
        """What it says of itself."""
        return self.signed(self, {"type": "operator"})

    def account(self, subject, *more):
        """That there is an account, without these limits either."""
        without = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf", *more), -1)
        return self.signed(subject, {"type": "account", "limits": {**without, "wildcards": True}})

    def user(self, subject):
        """That there is a user."""
        limits = dict.fromkeys(("subs", "data", "payload"), -1)
        return self.signed(subject, {"type": "user", "pub": {}, "sub": {}, **limits})

    def signed(self, subject, claims):
        """A claim about somebody."""
        body = {"jti": base32(os.urandom(16)), "iat": int(time.time()), "iss": self.public, "name": "test",
                "sub": subject.public, "nats": {**claims, "version": 2}}
        text = ".".join(base64url(json.dumps(part).encode())
                        for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, body))
        return f"{text}.{base64url(self.key.sign(text.encode()))}"

    def creds(self, jwt):
        """The file that a user shows."""
        return (f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
                f"-----BEGIN USER NKEY SEED-----\n{self.seed}\n------END USER NKEY SEED------\n")


def base64url(data):
    """Without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def base32(data):
    """With a checksum behind it, without padding."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return base64.b32encode(data + crc.to_bytes(2, "little")).rstrip(b"=").decode()


if __name__ == "__main__":
    unittest.main()
