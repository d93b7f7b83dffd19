"""Compares fxsrv's master with other TLS proxies: CPU, system calls and memory on the same load.

    just bench-peers [--quick] [--only REGEX] [--rounds N]

All contenders run on one thread, stand between the same load and the same sink, and speak the same TLS on both
sides. Every round measures each of them once, in an order that rotates, and a ratio is taken within its round: what
else the machine does at that time meets all of them. Writes results/peers/<date>/. docs/peers.md explains it.
"""

import argparse
import dataclasses
import datetime
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import contenders
import processes
import report

ROOT = Path(__file__).resolve().parents[2]
MB = 1_000_000


@dataclasses.dataclass
class Workload:
    """A counted number of requests."""

    key: str
    part: str
    connections: int
    bytes: int
    requests: int
    warm_up: int
    is_new: bool = False

    def gigabytes(self):
        """Of plaintext, there and back."""
        return 2 * self.bytes * self.requests / 1e9


@dataclasses.dataclass
class Scale:
    """How much is done. The kernel counts CPU in steps of 10 ms: a measurement takes half a second of it or more."""

    rounds: int
    bulk: int
    small: int
    syscall_rounds: int
    idle_ours: int
    idle_peers: int

    def workloads(self):
        return [
            Workload("bulk-1", "bulk", 1, 10 * MB, self.bulk, 2),
            Workload("bulk-20", "bulk", 20, 10 * MB, self.bulk, 20),
            Workload("small", "small", 8, 1024, self.small, 64, is_new=True),
        ]

    def syscall_workload(self):
        return Workload("syscalls-8", "bulk", 8, 10 * MB, self.bulk, 8)


FULL = Scale(rounds=5, bulk=40, small=1500, syscall_rounds=2, idle_ours=10_000, idle_peers=1_000)
QUICK = Scale(rounds=3, bulk=20, small=500, syscall_rounds=1, idle_ours=2_000, idle_peers=500)
SMOKE = Scale(rounds=1, bulk=2, small=40, syscall_rounds=1, idle_ours=100, idle_peers=100)

#: Cores from which on the second measurement of cores has two loads and two sinks: one of each is then too slow.
CORES_FOR_TWO_LOADS = 6


def main():
    args = parse_args()
    chosen = choose(args)
    processes.enter_namespace()
    # So that what was started is ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("error: terminated"))
    scale = dataclasses.replace(SMOKE if args.smoke else QUICK if args.quick else FULL)
    if args.rounds:
        scale.rounds = args.rounds
    limit = processes.raise_descriptor_limit(2 * scale.idle_ours + 1024)
    # A master counts two descriptors for each connection, since it may need one to a worker.
    scale.idle_ours = min(scale.idle_ours, limit // 2 - 100)
    with tempfile.TemporaryDirectory(prefix="fxsrv-peers-") as directory:
        bench = Bench(Path(directory), args, scale, chosen)
        try:
            bench.run()
        finally:
            bench.end()
    results = report.Results(bench.about(limit), bench.records)
    out = args.out or ROOT / "results" / "peers" / f"{results.about['date']}{'-quick' if args.quick else ''}"
    results.write(out)
    print(results.markdown())
    print(f"written to {out}", file=sys.stderr)


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
    parser.add_argument("--quick", action="store_true", help="three rounds of less: shows that it works")
    parser.add_argument("--smoke", action="store_true", help="a round of next to nothing: shows that it runs")
    parser.add_argument("--rounds", type=int, help="rounds of each workload")
    parser.add_argument("--only", default="", help="only contenders that match this, as in 'fxsrv|nginx-64k'")
    parser.add_argument("--parts", default="bulk,small,syscalls,memory,threads", help="only these measurements")
    parser.add_argument("--without-missing", action="store_true", help="compare those that are here")
    parser.add_argument("--fxsrv", type=Path, default=target / "fxsrv", help="the binary that is measured")
    parser.add_argument("--helper", type=Path, default=target / "fxsrv-peers", help="sink, load and plain tunnels")
    parser.add_argument("--out", type=Path, help="where results are written")
    return parser.parse_args()


def choose(args):
    """Those who take part; ends the program where one of them is not here."""
    for binary in (args.fxsrv, args.helper):
        if not os.access(binary, os.X_OK):
            fail(f"{binary} is missing", "cargo build --release -p fxsrv -p fxsrv-peers")
    everyone = contenders.everyone(args.fxsrv)
    chosen = [one for one in everyone if one.key == contenders.REFERENCE or re.search(args.only, one.key)]
    absent = contenders.missing(chosen)
    if absent and not args.without_missing:
        names = " ".join(absent)
        fail(f"not installed: {names}",
             f"apt-get install --no-install-recommends {names}\n"
             "      or compare with those that are here: --without-missing")
    return [one for one in chosen if not contenders.missing([one])]


def fail(error, hint):
    print(f"error: {error}\nhint: {hint}", file=sys.stderr)
    sys.exit(2)


class Bench:
    """The sink, the contenders, and what was measured of them."""

    def __init__(self, directory, args, scale, chosen):
        self.args, self.scale, self.contenders = args, scale, chosen
        self.parts = args.parts.split(",")
        cores = sorted(os.sched_getaffinity(0))
        # The contender has the first core to itself where there is another for load and sink.
        self.contender_cores, self.other_cores = set(cores[:1]), set(cores[1:] or cores)
        self.records, self.running = [], {}
        self.dir = directory
        run(args.fxsrv, "certs", "init", "--dir", directory / "certs", "--name", "localhost",
            "--name", "127.0.0.1")
        for who in ("server", "client"):
            pem = [(directory / "certs" / f"{who}.{kind}").read_text() for kind in ("pem", "key")]
            (directory / "certs" / f"{who}-and-key.pem").write_text("".join(pem))
        (directory / "token").write_text(run(args.fxsrv, "token", "new"))
        (directory / "token").chmod(0o600)
        self.sinks = [self.helper("sink", "--certs", directory / "certs") for _ in range(self.copies())]
        addresses = [sink.line().removeprefix("listening on ") for sink in self.sinks]
        self.site = contenders.Site(
            directory, args.fxsrv, args.helper, addresses, self.contender_cores,
            # What the others are asked to hold at most; HAProxy does not start where it could not.
            scale.idle_peers + 100)
        self.syscalls = processes.SyscallCounter(directory)

    @staticmethod
    def copies():
        """Loads and sinks of the measurement of cores; all others have one of each."""
        return 2 if len(os.sched_getaffinity(0)) >= CORES_FOR_TWO_LOADS else 1

    def helper(self, *arguments):
        """A process of the sink or the load."""
        log = self.dir / f"{arguments[0]}.log"
        return processes.Process([self.args.helper, *arguments], log, self.other_cores)

    def end(self):
        """Ends all processes."""
        for process, _ in self.running.values():
            process.end()
        for sink in self.sinks:
            sink.end()

    def run(self):
        """Everything; last what begins with fresh processes."""
        for contender in self.contenders:
            self.running[contender.key] = contender.start(self.site)
            self.check(contender)
        for number in range(self.scale.rounds):
            for workload in self.scale.workloads():
                if workload.part in self.parts:
                    for contender in self.in_turn(number, workload.part):
                        self.measure(number, workload, contender)
        if "syscalls" in self.parts and self.syscalls.tool:
            for number in range(self.scale.syscall_rounds):
                for contender in self.in_turn(number, "bulk"):
                    self.count_syscalls(number, contender)
        for process, _ in self.running.values():
            process.end()
        self.running.clear()
        if "memory" in self.parts:
            for contender in self.in_turn(0, "memory"):
                self.measure_idle(contender)
        if "threads" in self.parts:
            for number in range(self.scale.rounds):
                for threads in (1, 2):
                    self.measure_threads(number, threads)

    def in_turn(self, number, part):
        """Those of `part`, beginning with another one in each round."""
        taking_part = [one for one in self.contenders if part in one.parts]
        start = number % len(taking_part)
        return taking_part[start:] + taking_part[:start]

    def load(self, address, workload, between=lambda: None, copies=1):
        """Puts a load on an address, shared by `copies` processes; `between` is called once all are warm."""
        loads = [self.helper(
            "load", "--server", address, "--certs", self.site.certs, "--token-file", self.site.token,
            "--connections", max(workload.connections // copies, 1), "--requests", workload.requests // copies,
            "--warm-up", workload.warm_up // copies, "--bytes", workload.bytes,
            *(["--new"] if workload.is_new else [])) for _ in range(copies)]
        try:
            answers = processes.talk(loads, "ready", between)
        finally:
            for load in loads:
                load.end()
        return {
            "answered": sum(answer["answered"] for answer in answers),
            **{key: max(answer[key] for answer in answers) for key in ("seconds", "p50_us", "p99_us")}}

    def check(self, contender):
        """One request: whoever cannot serve it is not compared, and ends the comparison."""
        process, address = self.running[contender.key]
        try:
            self.load(address, Workload("check", "", 1, 1024, 1, 0))
        except RuntimeError as error:
            raise RuntimeError(f"{contender.name}: {error}\n{process.said()}") from error

    def measure(self, number, workload, contender):
        process, address = self.running[contender.key]
        self.record(number, workload, contender.key, process, address)

    def record(self, number, workload, key, process, address, copies=1):
        """CPU and peak memory of one load."""
        before = {}
        sinks_cpu_s = lambda: sum(sink.cpu_s() for sink in self.sinks)

        def begin():
            process.reset_memory_peak()
            before.update(contender=process.cpu_s(), sink=sinks_cpu_s())
        done = self.load(address, workload, begin, copies)
        cpu_s = process.cpu_s() - before["contender"]
        row = {
            "measurement": workload.key, "contender": key, "round": number,
            "requests": done["answered"], "gigabytes": workload.gigabytes(), "seconds": done["seconds"],
            "cpu_s": round(cpu_s, 3), "sink_cpu_s": round(sinks_cpu_s() - before["sink"], 3),
            "p50_us": done["p50_us"], "p99_us": done["p99_us"],
            "rss_peak_bytes": process.memory_bytes("VmHWM"),
        }
        self.records.append(row)
        print(f"{workload.key:>10} {key:<18} round {number + 1}: {cpu_s:6.2f} s of CPU in "
              f"{done['seconds']:6.2f} s", file=sys.stderr)

    def count_syscalls(self, number, contender):
        process, address = self.running[contender.key]
        workload = self.scale.syscall_workload()
        self.load(address, workload, lambda: self.syscalls.start(process.pids()))
        count = self.syscalls.stop()
        self.records.append({
            "measurement": workload.key, "contender": contender.key, "round": number,
            "requests": workload.requests, "gigabytes": workload.gigabytes(), "syscalls": count})
        print(f"  syscalls {contender.key:<18} {count / workload.gigabytes() / 1000:.1f} per MB", file=sys.stderr)

    def measure_idle(self, contender):
        """Memory of a fresh process, and of one that holds connections that have nothing to say."""
        connections = self.scale.idle_ours if contender.program == "fxsrv" else self.scale.idle_peers
        process, address = contender.start(self.site)
        self.running["idle"] = (process, address)
        idle = process.memory_bytes()
        # What the first connections allocate for good is not the connections'.
        self.load(address, Workload("check", "", 8, 1024, 64, 0))
        before, held = process.memory_bytes(), []
        crowd = self.helper(
            "idle", "--server", address, "--certs", self.site.certs, "--token-file", self.site.token,
            "--connections", connections)
        try:
            [woken] = processes.talk([crowd], "idle", lambda: held.append(process.memory_bytes()))
        finally:
            crowd.end()
        process.end()
        del self.running["idle"]
        self.records.append({
            "measurement": "idle", "contender": contender.key, "round": 0, "requests": woken["answered"],
            "connections": connections, "rss_idle_bytes": idle,
            "bytes_per_connection": round((held[0] - before) / connections)})
        print(f"      idle {contender.key:<18} {idle / 1e6:.1f} MB, "
              f"{(held[0] - before) / connections / 1e3:.1f} KB a connection", file=sys.stderr)

    def measure_threads(self, number, threads):
        """The reference on one thread and on two, with as many cores."""
        contender = self.contenders[0]
        cores = sorted(os.sched_getaffinity(0))
        self.site.cores, self.site.sinks_used = set(cores[:threads]), len(self.sinks)
        process, address = contender.start(self.site, threads)
        self.running["threads"] = (process, address)
        workload = Workload("bulk-20", "threads", 20, 10 * MB, self.scale.bulk, 20)
        workload.key = f"threads-{threads}"
        self.record(number, workload, contender.key, process, address, self.copies())
        process.end()
        del self.running["threads"]
        self.site.cores, self.site.sinks_used = self.contender_cores, 1

    def about(self, descriptors):
        """The machine, the programs, and what was done."""
        read = lambda path: Path(path).read_text().strip()
        cpu = re.search(r"model name\s*: (.*)", read("/proc/cpuinfo"))
        flags = re.search(r"flags\s*: (.*)", read("/proc/cpuinfo"))
        return {
            "date": datetime.date.today().isoformat(),
            "commit": run("git", "-C", ROOT, "describe", "--always", "--dirty").strip(),
            "cpu": cpu[1] if cpu else "unknown",
            "vaes": bool(flags and " vaes" in flags[1]),
            "cores": len(os.sched_getaffinity(0)),
            "kernel": os.uname().release,
            "isolated": processes.is_isolated(),
            "congestion_control": read("/proc/sys/net/ipv4/tcp_congestion_control"),
            "load_average": read("/proc/loadavg").split()[0],
            "rounds": self.scale.rounds,
            "quick": self.args.quick or self.args.smoke,
            "syscalls_by": self.syscalls.tool,
            "descriptors": descriptors,
            "versions": contenders.versions(self.args.fxsrv),
            "contenders": {one.key: one.name for one in self.contenders},
            "reference": contenders.REFERENCE,
            "workloads": [dataclasses.asdict(one) for one in [*self.scale.workloads(), self.scale.syscall_workload()]],
        }


def run(*command):
    """What a command prints; one that fails ends the comparison."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]}: {done.stderr}")
    return done.stdout


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, OSError) as error:
        sys.exit(f"error: {error}")
