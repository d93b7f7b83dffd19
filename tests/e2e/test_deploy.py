"""deploy/: manifests against Kubernetes' own schemas, flags against the program, and the system calls of the servers against the
profile that a container has. No cluster runs here, and no image is built."""

import importlib.util
import json
import re
import shutil
import subprocess
import unittest

import harness
import samples

DEPLOY = harness.ROOT / "deploy"
BASE = DEPLOY / "kustomize/base"

#: Of Kubernetes; the newest API that is used is that of autoscaling/v2, which is older.
VERSION = "1.31"


#: The tracer is no parent, so that signals go to the server.
TRACED = ("strace", "-D", "-f", "-qq", "-e", "signal=none", "-o")


def has_validator():
    """Whether manifests can be held against schemas."""
    return all(importlib.util.find_spec(name) for name in ("kubernetes_validate", "yaml"))


@unittest.skipUnless(has_validator(), "needs kubernetes-validate: pip install kubernetes-validate")
class Manifests(harness.Case):
    """What kubectl would be given."""

    def documents(self):
        """All documents of all files, with where they are."""
        import yaml
        for path in sorted(BASE.glob("*.yaml")):
            for document in yaml.safe_load_all(path.read_text()):
                yield path.name, document

    def test_every_document_fits_its_schema(self):
        import kubernetes_validate
        kinds = set()
        for name, document in self.documents():
            if name == "kustomization.yaml":
                continue
            with self.subTest(file=name, kind=document["kind"]):
                kubernetes_validate.validate(document, VERSION, strict=True)
                kinds.add(document["kind"])
        self.assertEqual(kinds, {
            "Namespace", "Service", "Deployment", "StatefulSet", "PodDisruptionBudget",
            "HorizontalPodAutoscaler", "NetworkPolicy"})

    def test_a_document_that_does_not_fit_is_found(self):
        import kubernetes_validate
        for name, document in self.documents():
            if document["kind"] == "Deployment":
                document["spec"]["replicas"] = "two"
                with self.assertRaises(Exception):
                    kubernetes_validate.validate(document, VERSION, strict=True)
                return
        self.fail("there is no Deployment")

    def test_what_is_named_is_there(self):
        found = list(self.documents())
        kustomization = dict(found)["kustomization.yaml"]
        self.assertEqual(
            sorted(kustomization["resources"]),
            sorted(path.name for path in BASE.glob("*.yaml") if path.name != "kustomization.yaml"))
        secrets = {secret["name"] for secret in kustomization["secretGenerator"]}
        workloads = {}
        for _, document in found:
            if document["kind"] in ("Deployment", "StatefulSet"):
                workloads[document["metadata"]["name"]] = document
        for name, document in workloads.items():
            pod = document["spec"]["template"]["spec"]
            for volume in pod.get("volumes", ()):
                self.assertIn(volume["secret"]["secretName"], secrets, name)
            (container,) = pod["containers"]
            ports = {port["name"] for port in container["ports"]}
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                self.assertIn(container[probe]["httpGet"]["port"], ports, name)
            self.assertTrue(pod["securityContext"]["runAsNonRoot"])
            self.assertTrue(container["securityContext"]["readOnlyRootFilesystem"])
        for _, document in found:
            if document["kind"] == "HorizontalPodAutoscaler":
                self.assertIn(document["spec"]["scaleTargetRef"]["name"], workloads)
            if document["kind"] == "PodDisruptionBudget":
                self.assertIn(document["spec"]["selector"]["matchLabels"]["app"], workloads)

    def test_every_flag_is_one_of_the_program(self):
        count = 0
        for _, document in self.documents():
            if document["kind"] not in ("Deployment", "StatefulSet"):
                continue
            (container,) = document["spec"]["template"]["spec"]["containers"]
            role, *flags = container["args"]
            told = harness.run(role, "--help").stdout.decode()
            for flag in flags:
                name = flag.partition("=")[0]
                self.assertTrue(re.search(rf"^\s+(-\w, )?{name}\b", told, re.M), f"{role} {name}")
                count += 1
        self.assertGreater(count, 20)


class Profile(harness.Case):
    """deploy/seccomp.json."""

    def allowed(self):
        """Names that the profile permits."""
        profile = json.loads((DEPLOY / "seccomp.json").read_text())
        self.assertEqual(profile["defaultAction"], "SCMP_ACT_ERRNO")
        return {name for rule in profile["syscalls"] for name in rule["names"]}

    def test_it_permits_the_ring_and_nothing_that_leads_out(self):
        allowed = self.allowed()
        self.assertLessEqual({"io_uring_setup", "io_uring_enter", "io_uring_register"}, allowed)
        for name in ("ptrace", "mount", "bpf", "keyctl", "init_module", "setns", "reboot",
                     "process_vm_readv", "perf_event_open", "userfaultfd", "unshare", "pivot_root"):
            self.assertNotIn(name, allowed)

    @unittest.skipUnless(shutil.which("strace"), "needs strace")
    def test_it_permits_what_the_servers_call(self):
        allowed = self.allowed()
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                logs = [self.dir / f"{io}-{role}.trace" for role in ("worker", "master")]
                worker = self.start(
                    "worker", "--listen", "127.0.0.1:0", "--certs", self.certs, "--io", io,
                    wrapper=(*TRACED, str(logs[0])))
                host, port = worker.address()
                master = self.start(
                    "master", "--listen", "127.0.0.1:0", "--certs", self.certs, "--io", io,
                    "--token-file", self.token_file, "--worker", f"{host}:{port}",
                    wrapper=(*TRACED, str(logs[1])))
                for _, operation, body, judge in samples.every_conversion():
                    judge(self.convert_v1(master.address(), operation, body))
                master.end()
                worker.end()
                for server, log in ((worker, logs[0]), (master, logs[1])):
                    harness.eventually(
                        f"strace of the {server.name} has written all",
                        lambda server=server, log=log: re.search(
                            rf"^{server.pid} .*exit_group", log.read_text(), re.M))
                called = {match for log in logs for match in re.findall(
                    r"^\d+ +(\w+)\(", log.read_text(errors="replace"), re.M)}
                self.assertIn("execve", called)
                self.assertEqual(called - allowed, set())


class Image(unittest.TestCase):
    """deploy/Containerfile, as far as it can be read."""

    def test_it_runs_the_program_as_nobody(self):
        text = (DEPLOY / "Containerfile").read_text()
        last = text[text.rindex("\nFROM"):]
        self.assertRegex(last, r"\nUSER 65532:65532\n")
        self.assertRegex(last, r"distroless/\S+:nonroot")
        for source in re.findall(r"^COPY (?!--from)(.+) \S+$", last, re.M):
            for name in source.split():
                self.assertTrue((harness.ROOT / name).exists(), name)


if __name__ == "__main__":
    unittest.main()
