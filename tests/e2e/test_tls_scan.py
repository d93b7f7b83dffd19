"""TLS as a scanner sees it: every cipher, group and signature that OpenSSL has, each alone."""

import shutil
import subprocess
import unittest

import client_v1
import faults
import forger
import harness
import samples
from test_tls import s_client

#: All of OpenSSL's, also those that it would not offer by itself.
ALL = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"

#: Of TLS 1.2, with the ECDSA key of `fxsrv certs`: forward secrecy and AEAD, and nothing else.
CIPHERS_1_2 = {
    "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-CHACHA20-POLY1305"}

CIPHERS_1_3 = {
    "TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"}
OTHERS_1_3 = {"TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"}

GROUPS = {"X25519", "P-256", "P-384"}
OTHER_GROUPS = {"X448", "P-521", "ffdhe2048", "ffdhe3072", "brainpoolP256r1", "secp256k1", "P-192"}

WEAK_SIGNATURES = ("ECDSA+SHA1", "ECDSA+SHA224", "RSA+SHA1")

#: Descriptions of alerts, as IANA lists them.
ALERTS = (
    0, 10, 20, 21, 22, 30, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 60, 70, 71, 80, 86, 90,
    100, 109, 110, 111, 112, 113, 114, 115, 116, 120, 121, 255)
ALERT = 21


@unittest.skipUnless(shutil.which("openssl"), "openssl is missing: `apt-get install openssl`")
class Scan(faults.Case):
    """What a master agrees to."""

    def setUp(self):
        super().setUp()
        self.worker, self.master, self.address = self.start_tiers()

    def agreed(self, *args, **more):
        """What `openssl s_client` says of a handshake with `args`, if there was one."""
        said = s_client(self.address, "-CAfile", self.certs / "ca.pem", *args, **more)
        return "" if "Cipher is (NONE)" in said or "Cipher is" not in said else said

    def test_ciphers_are_those_of_today(self):
        listed = subprocess.run(
            ["openssl", "ciphers", "-s", "-tls1_2", ALL], capture_output=True, check=True)
        offered = listed.stdout.decode().strip().split(":")
        self.assertGreater(len(offered), 50, "OpenSSL knows many")
        for name in offered:
            if name.startswith("TLS_"):
                continue
            with self.subTest(cipher=name):
                said = self.agreed("-tls1_2", "-cipher", f"{name}:@SECLEVEL=0")
                self.assertEqual(bool(said), name in CIPHERS_1_2)
        for name in sorted(CIPHERS_1_3 | OTHERS_1_3):
            with self.subTest(cipher=name):
                said = self.agreed("-tls1_3", "-ciphersuites", name)
                self.assertEqual(bool(said), name in CIPHERS_1_3)

    def test_groups_are_those_of_today(self):
        for name in sorted(GROUPS | OTHER_GROUPS):
            with self.subTest(version="1.3", group=name):
                said = self.agreed("-tls1_3", "-groups", name)
                self.assertEqual(bool(said), name in GROUPS)
        # The groups of TLS 1.2 also say which curve a certificate may have; that here is of P-256.
        for name in sorted(OTHER_GROUPS):
            with self.subTest(version="1.2", group=name):
                self.assertFalse(self.agreed("-tls1_2", "-groups", name))

    def test_no_weak_signature_is_made(self):
        for name in WEAK_SIGNATURES:
            with self.subTest(signature=name):
                self.assertFalse(self.agreed(
                    "-tls1_2", "-sigalgs", name, "-cipher", "ALL:@SECLEVEL=0"))
        self.assertIn("signature type: ECDSA", self.agreed("-tls1_3"))

    def test_nothing_that_has_been_broken_is_offered(self):
        said = self.agreed("-tls1_2")
        self.assertIn("Secure Renegotiation IS supported", said)
        self.assertIn("Compression: NONE", said)
        self.assertIn("Extended master secret: yes", said)
        # Somebody else could send it again: no early data. Tickets, which say so, come behind the
        # handshake; a header that is none has the server answer and end.
        said = self.agreed("-tls1_3", "-ign_eof", sent=bytes(94))
        self.assertIn("Max Early Data: 0", said)
        self.assertFalse(self.agreed("-tls1_2", "-fallback_scsv"), "a downgrade goes unnoticed")

    def test_each_alert_costs_its_sender_alone(self):
        wire = client_v1.request_header(
            samples.JPG, client_v1.TO_PNG, harness.TOKEN) + samples.JPG
        before = self.at_rest(self.master, self.worker)
        for level in (1, 2):
            for description in ALERTS:
                for sent in (0, 50, 100):
                    with self.subTest(level=level, description=description, sent=sent):
                        self.send_alert(wire, sent, bytes([level, description]))
        samples.check_picture(
            self.convert_v1(self.address, client_v1.TO_PNG, samples.JPG), "png")
        self.check_rest(before)

    def send_alert(self, wire, sent, alert):
        """A request with an alert in it. Who is fatal or ends gets no result; a warning changes nothing."""
        with forger.Forger(self.address, self.certs / "ca.pem", self.dir) as client:
            parts = [client.record(wire[:sent])] if sent else []
            try:
                client.send(*parts, client.record(alert, kind=ALERT), client.record(wire[sent:]))
                answer = client_v1.read_answer(client)
            except (OSError, client_v1.CutAnswer):
                return
            self.assertEqual(alert[0], 1, "a fatal alert was overheard")
            self.assertNotEqual(alert[1], 0, "an end was overheard")
            samples.check_picture(answer, "png")


if __name__ == "__main__":
    unittest.main()
