//! `fxsrv-bench simulate`.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use fxsrv::auth::Token;
use fxsrv::io::Driver;
use fxsrv::tls::Roots;
use fxsrv::wire::{ChecksumKind, Operation, Version};

use super::{Fail, out, subject};
use crate::content::{Kind, Motif, Store};
use crate::load::{
    self, Arrivals, Conversion, Drive, Expect, Load, Recorder, Reuse, Script, Target,
};
use crate::measure::machine;
use crate::report;
use crate::simulate::{Model, Outcome, Policy, Sizes, simulate};

const WORKERS: [usize; 9] = [2, 4, 8, 16, 32, 64, 128, 384, 1000];

/// Of all slots; more is what nobody plans for, less shows no difference.
const LOAD: f64 = 0.8;
const SLOTS: usize = 4;

/// The tail of sizes makes means slow to settle.
const REQUESTS: usize = 400_000;

/// The measured fleet: two workers with a slot each, below what generator and master leave them of two
/// cores.
const MEASURED_WORKERS: usize = 2;
const MEASURED_LOAD: f64 = 0.4;
const MEASURED_BYTES: usize = 100_000;

/// Simulate how requests find their workers, and hold two workers against a measurement
///
/// Random, round-robin, two choices by outstanding bytes, and pull from one line, from 2 to 1,000 workers,
/// with sizes whose largest is 25,000 times the smallest. The same seed gives the same numbers.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the results go [default: results/simulation/DATE]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Decides everything that is random
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Requests of each run
    #[arg(long, default_value_t = REQUESTS)]
    requests: usize,

    /// The server's program, for the measurement [default: fxsrv beside this one]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,

    /// Seconds that are measured; 0 measures nothing
    #[arg(long, default_value_t = 60)]
    measure: u64,
}

pub(super) fn run(args: &Args) -> Result<(), Fail> {
    let date = machine::utc(SystemTime::now());
    let date = date.split('T').next().unwrap_or_default();
    let dir = args.out.clone().unwrap_or_else(|| Path::new("results/simulation").join(date));
    fs::create_dir_all(&dir).map_err(Fail::new)?;
    let mut page = format!(
        "# Routing policies, simulated, {date}\n\n`just simulate --seed {}`: requests of heavy-tailed \
         sizes (bounded Pareto, alpha 1.2, largest 25,000 times the smallest) arrive at random at workers of \
         {SLOTS} slots, {:.0} % of which are busy on the whole. Times are in units of the mean time of a \
         conversion; {} requests each.\n",
        args.seed,
        LOAD * 100.0,
        args.requests
    );
    let outcomes: Vec<Vec<Outcome>> = Policy::ALL
        .iter()
        .map(|policy| WORKERS.iter().map(|&workers| outcome(args, workers, *policy)).collect())
        .collect();
    let labels: Vec<String> = WORKERS.iter().map(ToString::to_string).collect();
    for (name, title, read) in plots() {
        let series: Vec<(&str, Vec<f64>)> = Policy::ALL
            .iter()
            .zip(&outcomes)
            .map(|(policy, runs)| (policy.name(), runs.iter().map(read).collect()))
            .collect();
        let svg = report::lines_by_category("workers", &labels, title, &series);
        fs::write(dir.join(format!("{name}.svg")), svg.map_err(Fail::new)?).map_err(Fail::new)?;
        table(&mut page, name, title, &labels, &series);
    }
    if args.measure > 0 {
        page.push_str(&check(args)?);
    }
    fs::write(dir.join("README.md"), &page).map_err(Fail::new)?;
    out(page.trim_end())
}

fn outcome(args: &Args, workers: usize, policy: Policy) -> Outcome {
    let model = Model {
        workers,
        slots: SLOTS,
        load: LOAD,
        sizes: Sizes::HEAVY,
        requests: args.requests,
        seed: args.seed,
    };
    simulate(&model, policy)
}

type Read = fn(&Outcome) -> f64;

fn plots() -> [(&'static str, &'static str, Read); 3] {
    [
        ("mean", "mean time, conversions", Outcome::mean),
        ("p50", "median time, conversions", |outcome| outcome.quantile(0.5)),
        ("p99", "p99 of the time, conversions", |outcome| outcome.quantile(0.99)),
    ]
}

fn table(
    page: &mut String,
    name: &str,
    title: &str,
    labels: &[String],
    series: &[(&str, Vec<f64>)],
) {
    // A string takes everything.
    let _ = write!(page, "\n## {title}\n\n![{title}]({name}.svg)\n\n| workers |");
    for (policy, _) in series {
        let _ = write!(page, " {policy} |");
    }
    page.push_str("\n|---:|");
    page.push_str(&"---:|".repeat(series.len()));
    for (at, label) in labels.iter().enumerate() {
        let _ = write!(page, "\n| {label} |");
        for (_, values) in series {
            let _ = write!(page, " {:.3} |", values[at]);
        }
    }
    page.push('\n');
}

/// Two workers as they are, beside two workers as they are simulated.
fn check(args: &Args) -> Result<String, Fail> {
    let fleet = Fleet::start(&subject::binary(args.binary.as_ref())?)?;
    let body = Store::new(1, None).file(Kind::Jpg, Motif::Photo, MEASURED_BYTES);
    let operation = Operation::Convert(fxsrv::convert::Target::Png);
    let script = Conversion::new(
        Version::V1_1,
        &fleet.token,
        operation,
        ChecksumKind::Xxh3,
        body.map_err(Fail::new)?,
        64 * 1024,
        Expect::Result,
    );
    let script = Script::Conversion(script.map_err(Fail::new)?);
    // Alone, a request takes a conversion, and what master, network and TLS take beside it.
    let alone = measured(&fleet, &script, args, (Drive::Closed, 1))?;
    let overhead_us = alone.latency.mean() / 1e3 - convert_us(&alone);
    let rate = MEASURED_LOAD * MEASURED_WORKERS as f64 * 1e6 / convert_us(&alone);
    let drive = Drive::Open { rate, arrivals: Arrivals::Poisson };
    let loaded = measured(&fleet, &script, args, (drive, 64))?;
    let unit_us = convert_us(&loaded);
    let model = Model {
        workers: MEASURED_WORKERS,
        slots: 1,
        // Conversions of two workers on two cores beside a generator take longer than alone.
        load: rate * unit_us / 1e6 / MEASURED_WORKERS as f64,
        sizes: Sizes::Equal,
        requests: args.requests,
        seed: args.seed,
    };
    if model.load >= 1.0 {
        return Err(Fail::new("the machine is too busy for the measurement")
            .with_hint("try again when nothing else runs, or leave it out with --measure 0"));
    }
    Ok(comparison(&loaded, &model, (rate, unit_us, overhead_us)))
}

fn comparison(
    loaded: &Recorder,
    model: &Model,
    (rate, unit_us, overhead_us): (f64, f64, f64),
) -> String {
    let policies = [Policy::TwoChoices, Policy::Random, Policy::Pull];
    let [two, random, pull] = policies.map(|policy| simulate(model, policy));
    let in_units = |ns: f64| ((ns / 1e3 - overhead_us) / unit_us).max(0.0);
    let mut text = format!(
        "\n## Two workers, measured\n\nA master and two workers of one slot each (`fxsrv up --workers 2 --slots 1`), \
         JPG of {MEASURED_BYTES} bytes to PNG, Poisson arrivals of {rate:.1} a second, {} answered and {} failed. A \
         conversion took {:.1} ms under this load, so that {:.0} % of the slots were busy; {:.1} ms a request that it \
         took alone beside its conversion are left out. Beside it the simulation of the same load, with sizes that are \
         all the same, as these files are.\n\n\
         | time, conversions | measured | simulated, two choices | random | pull |\n|---|---:|---:|---:|---:|\n",
        loaded.answered(),
        loaded.failures(),
        unit_us / 1e3,
        model.load * 100.0,
        overhead_us / 1e3,
    );
    let mut row = |name: &str, ns: f64, read: &dyn Fn(&Outcome) -> f64| {
        let measured = in_units(ns);
        let [two, random, pull] = [&two, &random, &pull].map(read);
        // A string takes everything.
        let _ = writeln!(text, "| {name} | {measured:.2} | {two:.2} | {random:.2} | {pull:.2} |");
    };
    row("mean", loaded.latency.mean(), &Outcome::mean);
    for (name, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
        let ns = loaded.latency.value_at_quantile(quantile) as f64;
        row(name, ns, &|outcome| outcome.quantile(quantile));
    }
    text
}

fn measured(
    fleet: &Fleet,
    script: &Script,
    args: &Args,
    (drive, connections): (Drive, usize),
) -> Result<Recorder, Fail> {
    let load = Load {
        drive,
        connections,
        threads: 1,
        driver: Driver::Epoll,
        reuse: Reuse::Kept,
        warm_up: Duration::from_secs(2),
        measured: Duration::from_secs(args.measure),
        request_timeout: Duration::from_secs(30),
        drain: Duration::from_secs(30),
        seed: args.seed,
    };
    let run = load::run(&load, &fleet.target, script, || ()).map_err(Fail::new)?;
    if run.counts.answered() == 0 || run.counts.convert_told == 0 {
        return Err(Fail::new(format!("nothing was answered: {:?}", run.counts.failed)));
    }
    Ok(run.counts)
}

/// Mean time of a conversion, as the workers say.
fn convert_us(counts: &Recorder) -> f64 {
    counts.convert_us as f64 / counts.convert_told.max(1) as f64
}

/// A master and two workers in one process, which ends with this.
struct Fleet {
    child: Child,
    target: Target,
    token: Token,
    _dir: tempfile::TempDir,
}

impl Fleet {
    fn start(binary: &Path) -> Result<Self, Fail> {
        let dir = tempfile::tempdir().map_err(Fail::new)?;
        let workers = MEASURED_WORKERS.to_string();
        let mut child = Command::new(binary)
            .args(["up", "--listen", "127.0.0.1:0", "--web", "off", "--log", "error"])
            .args(["--workers", &workers, "--slots", "1", "--state"])
            .arg(dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| Fail::new(format!("cannot run {}: {error}", binary.display())))?;
        let stdout = child.stdout.take().ok_or_else(|| Fail::new("it has no output"))?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).map_err(Fail::new)?;
        let address = line.trim().strip_prefix("listening on ").unwrap_or_default();
        let address: SocketAddr =
            address.parse().map_err(|_| Fail::new(format!("`fxsrv up` said: {line}")))?;
        let roots = Roots::load(&dir.path().join("certs/ca.pem")).map_err(Fail::new)?;
        let token = Token::load(&dir.path().join("token")).map_err(Fail::new)?.token;
        let target =
            Target { address, name: "localhost".to_owned(), roots: Some(roots), is_plain: false };
        Ok(Self { child, target, token, _dir: dir })
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
