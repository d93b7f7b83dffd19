# Everything that is done with fxsrv beside the two commands of the README. `just` alone lists it.

# Builds with libjpeg-turbo where its tools are here; the default codecs otherwise.
features := if `command -v cmake >/dev/null && command -v nasm >/dev/null && echo yes || true` == "yes" { "--features turbo" } else { "" }

target := env("CARGO_TARGET_DIR", "target")

_list:
    @just --list --unsorted

# Master and worker on this machine, with certificates and a token made on first use
up *args:
    cargo run --release {{features}} -- up {{args}}

# The tests of `cargo test`, then the suites from the outside
test: test-rust test-e2e

# Unit and integration tests, on both drivers
test-rust:
    cargo test

# Real processes, a client written from the specification, strace, signals
test-e2e: build
    tests/e2e/run

# The page in a browser; needs chromium, node and npm
test-web *files: build
    tests/web/run {{files}}

# The HTTP API against its own description; installs schemathesis for the run
test-api *args: build
    tests/api/run {{args}}

# The release binary
build:
    cargo build --release {{features}}

# Formatting, lints as errors, the borders between the rooms
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo test --test borders

# Every file of a folder through the whole path: how many were converted, refused by which code
corpus folder: build
    python3 tests/corpus.py --folder {{folder}}

# CPU time, size, quality and memory beside the libraries that one could pick instead: results/codecs/
bench-codecs *args:
    python3 bench/codecs/run.py {{args}}

# The file store beside nginx and a plain Python server: results/store/; needs nginx
bench-store *args: build
    python3 bench/store/run.py {{args}}

# Outcome and faithfulness on every file of a folder, beside the reference tools: results/fidelity/
fidelity folder *args:
    python3 tests/fidelity/run.py {{folder}} {{args}}

# Everything that CI does
ci:
    .ci/run

# A sweep with a report in results/, some 20 minutes; `just bench-sweep --quick` takes under two
bench-sweep *args:
    cargo build --release {{features}}
    cargo build --release -p fxsrv-bench
    {{target}}/release/fxsrv-bench sweep {{args}}

# The original's plan; with `--reference HOST:PORT --token-file F --insecure` beside a server of the original
bench-original *args:
    cargo build --release {{features}}
    cargo build --release -p fxsrv-bench
    {{target}}/release/fxsrv-bench sweep --plan bench/plans/original.toml {{args}}

# What the generator costs beside the server, on small requests; it should be at most half
bench-generator *args:
    cargo build --release {{features}}
    cargo build --release -p fxsrv-bench
    {{target}}/release/fxsrv-bench generator {{args}}

# The plots of a run into README.md, docs/ and results/README.md
bench-images dir:
    bench/publish.py {{dir}}

# The pictures of the page in README and docs, into docs/images
web-images: build
    FXSRV_BIN={{target}}/release/fxsrv SHOTS_DOCS=yes tests/web/run screenshots.mjs

# What a process of its own costs a conversion, beside a thread: results/isolation/
bench-isolation *args: build
    bench/isolation/run.py --bin {{target}}/release/fxsrv {{args}}

# CPU time per GB by the web gateway beside that of `fxsrv convert`, in turns; `--docs` keeps it in results/web
bench-web *args: build
    bench/web/run.py {{args}}

# Draw the report of a directory of results again
bench-report dir:
    cargo run --release -p fxsrv-bench -- report {{dir}}

# Does the bench run; nothing about speed
bench-smoke:
    bench/smoke

# Two programs or two commits in turns, `just bench-compare HEAD~1 HEAD`: slower, faster, or neither
bench-compare a b *args:
    cargo run --release -p fxsrv-bench --bin fxsrv-bench -- compare {{a}} {{b}} {{args}}

# What a request costs, counted, held against results/baseline; needs valgrind and strace
bench-check *args:
    cargo build --locked --release -p fxsrv -p fxsrv-bench
    {{target}}/release/fxsrv-bench check {{args}}

# Make the present counts the accepted ones; in a commit of its own that says why
bench-accept:
    just bench-check --accept

# The master beside HAProxy, nginx, stunnel and plain tokio: results/peers/; docs/peers.md explains it
bench-peers *args:
    cargo build --release {{features}} -p fxsrv -p fxsrv-peers
    python3 bench/peers/run.py {{args}}

# The tables of a run of bench-peers into docs/peers.md and README.md
peers-docs dir:
    python3 bench/peers/report.py --docs {{dir}}

# Where the time of the master goes, under the loads of bench-peers; needs perf
peers-profile *args:
    cargo build --release -p fxsrv -p fxsrv-peers
    python3 bench/peers/profile.py {{args}}

# Half an hour of faults at random under clients of every kind; every request must have its right outcome
soak *args: build
    FXSRV_BIN={{target}}/release/fxsrv tests/soak/run.py {{args}}

# What a worker makes of three times too much load: goodput, refusals, times, memory; `--keep` keeps it in results/overload
bench-overload *args: build
    bench/overload/run.py --bin {{target}}/release/fxsrv {{args}}

# What a batch costs beside its conversions, and a million files on a queue: results/batch/; needs Pillow and nats-server
bench-batch *args:
    cargo build --release -p fxsrv -p fxsrv-bench
    bench/batch/run.py {{args}}

# Routing policies from 2 to 1,000 workers, simulated, and two of them measured: results/simulation/
simulate *args:
    cargo build --release -p fxsrv -p fxsrv-bench
    {{target}}/release/fxsrv-bench simulate {{args}}

# Licences, sources, duplicates and advisories of every crate; needs cargo-deny and the network
deny:
    cargo deny --locked check

# A .deb from the release binary
deb *args: build
    packaging/deb --bin {{target}}/release/fxsrv {{args}}
