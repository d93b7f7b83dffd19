//! `fxsrv-bench sweep`.

use std::net::ToSocketAddrs as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Instant, SystemTime};

use fxsrv::auth::Token;
use fxsrv::io::Driver;
use fxsrv::tls::Roots;
use fxsrv::wire::Version;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Fail, output, say};
use crate::content::Store;
use crate::load::Target;
use crate::measure::isolate;
use crate::measure::machine::{self, Machine};
use crate::measure::servers::{Servers, Setup};
use crate::plan::{Cell, Plan};
use crate::report;
use crate::results::Dir;
use crate::results::record::Record;
use crate::results::table::{self, Row};
use crate::sweep::{Bench, Subject, remaining};
use crate::warning::Warning;

/// The plan where none is named.
const ORIGINAL: &str = include_str!("../../plans/original.toml");

/// Measure every cell of a plan, and write a report
///
/// Starts a worker and a master on loopback, or takes the server that it is told. Results go to a
/// directory of their own, cell by cell: what was cut off goes on with --resume.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  In under two minutes, to see that it works:
      fxsrv-bench sweep --quick

  Another server that speaks v1.0:
      fxsrv-bench sweep --wire v1.0 --server host:5000 --token-file token --insecure")]
// Flags are what they are: each is a switch of its own.
#[allow(clippy::struct_excessive_bools)]
pub(super) struct Args {
    /// What to measure [default: bench/plans/original.toml, which is built in]
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,

    /// The short form of the plan
    #[arg(long)]
    quick: bool,

    /// Where directories of results go
    #[arg(long, value_name = "DIR", default_value = "results")]
    out: PathBuf,

    /// Go on with a run of the same day, plan and commit
    #[arg(long)]
    resume: bool,

    /// The server's program [default: fxsrv beside this one]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,

    /// A flag for master and worker, such as --server-flag=--io=epoll; repeat it for more
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    server_flag: Vec<String>,

    /// Measure a server that runs already
    #[arg(long, value_name = "HOST:PORT", requires = "token_file", conflicts_with = "binary")]
    server: Option<String>,

    /// Trust servers that these certificates have signed
    #[arg(long, value_name = "FILE", requires = "server")]
    ca: Option<PathBuf>,

    /// Trust any server
    #[arg(long, requires = "server", conflicts_with = "ca")]
    insecure: bool,

    /// What the server wants to be shown
    #[arg(long, value_name = "FILE", requires = "server")]
    token_file: Option<PathBuf>,

    /// Which version to speak: v1.1 or v1.0
    #[arg(long, value_name = "VERSION", default_value = "v1.1", value_parser = version)]
    wire: Version,

    /// What carries the generator's input and output: epoll or uring
    #[arg(long, value_name = "DRIVER", default_value = "epoll")]
    io: Driver,

    /// Threads of the generator [default: half of the cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,

    /// Keep the files that are sent, to make them once only
    #[arg(long, value_name = "DIR")]
    content: Option<PathBuf>,

    /// Use the machine's loopback, without a network namespace
    #[arg(long)]
    shared_network: bool,

    /// End with an error where a request failed
    #[arg(long)]
    strict: bool,

    /// Say how long it will take, and end
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Fail> {
    let (text, plan) = read_plan(args)?;
    if args.server.is_none() && !args.shared_network && !args.dry_run {
        isolate::enter();
    }
    let measurements = plan.order().len();
    let estimate = plan.seconds(machine::cores());
    say(&format!(
        "{}: {} cells, {} measurements, {} in all",
        plan.name,
        plan.cells.len(),
        measurements,
        duration(estimate),
    ));
    if args.dry_run {
        return Ok(());
    }
    let (dir, done) = open_results(args, &plan, &text)?;
    let own = if args.server.is_none() { Some(start_servers(args)?) } else { None };
    let foreign = if own.is_none() { Some(foreign(args)?) } else { None };
    let subject = match (&own, &foreign) {
        (Some(servers), _) => Subject::Own(servers),
        (None, Some((target, token))) => Subject::Foreign { target, token },
        (None, None) => return Err(Fail::new("there is no server to measure")),
    };
    let threads = args.threads.map_or_else(|| (machine::cores() / 2).max(1), usize::from);
    let mut record = begin_record(args, &plan, threads, estimate);
    let bench = Bench { subject, plan: &plan, version: args.wire, threads, driver: args.io };
    for name in done.iter().flat_map(|row| row.warnings.split_whitespace()) {
        record.count_of_cell(name);
    }
    if let Some(content) = &args.content {
        std::fs::create_dir_all(content)
            .map_err(|error| Fail::new(format!("cannot make {}: {error}", content.display())))?;
    }
    let mut contents = Store::new(plan.seed, args.content.clone());
    let began = Instant::now();
    measure_all(&bench, &remaining(&plan, &done), &mut contents, &dir, &mut record)?;
    record.took_seconds = began.elapsed().as_secs_f64();
    record.ended = machine::utc(SystemTime::now());
    record.load_average_after = machine::load_average();
    let kept = |error: std::io::Error| Fail::new(format!("cannot keep results: {error}"));
    record.save(&dir.record()).map_err(kept)?;
    report::render(&dir).map_err(kept)?;
    for noted in &record.warnings {
        let place = match noted.measurements {
            0 => String::new(),
            count => format!(" ({count} of {measurements} measurements; the first is shown)"),
        };
        say(&format!("warning: {}{place}", noted.text));
    }
    say(&format!("{}", dir.report().display()));
    let rows = table::read(&dir.cells()).map_err(kept)?;
    match rows.iter().find(|row| row.failures > 0) {
        Some(row) if args.strict => {
            Err(Fail::new(format!("{}: requests failed: {}", row.cell, row.failure_kinds)))
        }
        _ => Ok(()),
    }
}

fn read_plan(args: &Args) -> Result<(String, Plan), Fail> {
    let text = match &args.plan {
        None => ORIGINAL.to_owned(),
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| Fail::new(format!("cannot read {}: {error}", path.display())))?,
    };
    let shown = args.plan.as_deref().unwrap_or(Path::new("the built-in plan")).display();
    let plan = Plan::parse(&text, args.quick)
        .map_err(|error| Fail::new(format!("{shown}: {}", error.to_string().trim())))?;
    let plan = if args.wire == Version::V1_0 { plan.for_v1_0() } else { plan };
    if plan.cells.is_empty() {
        return Err(Fail::new(format!("{shown} has nothing that v1.0 can do")));
    }
    plan.check_version(args.wire).map_err(Fail::new)?;
    Ok((text, plan))
}

fn open_results(args: &Args, plan: &Plan, text: &str) -> Result<(Dir, Vec<Row>), Fail> {
    let kept = |error: std::io::Error| Fail::new(format!("cannot keep results: {error}"));
    let date = machine::utc(SystemTime::now());
    let date = date.split('T').next().unwrap_or_default();
    let path = args.out.join(format!("{date}-{}-{}", plan.name, commit()));
    if path.exists() && !args.resume {
        return Err(Fail::new(format!("{} is there already", path.display()))
            .with_hint("go on with it by --resume, or remove it"));
    }
    let dir = Dir::create(&path).map_err(kept)?;
    let mut done = Vec::new();
    if dir.cells().exists() {
        table::cut_to_whole_rows(&dir.cells()).map_err(kept)?;
        done = table::read(&dir.cells()).map_err(kept)?;
    }
    std::fs::write(dir.plan(), text).map_err(kept)?;
    Ok((dir, done))
}

fn measure_all(
    bench: &Bench<'_>,
    cells: &[(u32, Cell)],
    contents: &mut Store,
    dir: &Dir,
    record: &mut Record,
) -> Result<(), Fail> {
    let cores = machine::cores();
    let tenths = |seconds: f64| {
        // A positive number of tenths of seconds.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let tenths = (seconds * 10.0) as u64;
        tenths
    };
    let seconds = |cell: &Cell| bench.plan.cell_seconds(cell, cores);
    let total = cells.iter().map(|(_, cell)| seconds(cell)).sum();
    let bar = ProgressBar::new(tenths(total)).with_style(
        ProgressStyle::with_template("{bar:30} {percent:>3} %, {eta} left  {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    for (repeat, cell) in cells {
        bar.set_message(cell.to_string());
        let (_, warnings) = bench.measure(*repeat, cell, contents, dir).map_err(|error| {
            Fail::new(format!("{cell}: {error}")).with_hint("what is measured is kept: --resume")
        })?;
        for warning in &warnings {
            record.warn_of_cell(warning);
        }
        bar.inc(tenths(seconds(cell)));
    }
    bar.finish_and_clear();
    Ok(())
}

fn binary(args: &Args) -> Result<PathBuf, Fail> {
    let beside = || {
        let own = std::env::current_exe().ok()?;
        Some(own.parent()?.join("fxsrv"))
    };
    let path = args.binary.clone().or_else(beside).unwrap_or_else(|| PathBuf::from("fxsrv"));
    if path.exists() {
        return Ok(path);
    }
    Err(Fail::new(format!("there is no {}", path.display()))
        .with_hint("build it with `cargo build --release`, or name it with --binary"))
}

fn start_servers(args: &Args) -> Result<Servers, Fail> {
    let setup = Setup { binary: binary(args)?, flags: args.server_flag.clone() };
    Servers::start(&setup).map_err(Fail::new)
}

fn foreign(args: &Args) -> Result<(Target, Token), Fail> {
    let server = args.server.as_deref().unwrap_or_default();
    let wrong = |what: &dyn std::fmt::Display| Fail::new(format!("--server {server}: {what}"));
    let address: fxsrv::client::Address = server.parse().map_err(|error| wrong(&error))?;
    let resolved = (address.host(), address.port())
        .to_socket_addrs()
        .map_err(|error| wrong(&error))?
        .next()
        .ok_or_else(|| wrong(&"the name has no address"))?;
    let roots = match &args.ca {
        Some(path) => Some(Roots::load(path).map_err(Fail::new)?),
        None if args.insecure => None,
        None => {
            return Err(Fail::new("nothing says whom to trust")
                .with_hint("give --ca FILE, or --insecure for a server of your own"));
        }
    };
    let path = args.token_file.as_deref().unwrap_or(Path::new(""));
    let token = Token::load(path).map_err(Fail::new)?.token;
    Ok((Target { address: resolved, name: address.host().to_owned(), roots }, token))
}

fn begin_record(args: &Args, plan: &Plan, threads: usize, estimate: f64) -> Record {
    let server = match (&args.server, binary(args)) {
        (Some(server), _) => server.clone(),
        (None, Ok(binary)) => {
            let said = output(Command::new(binary).arg("--version"));
            said.lines().map(str::trim).collect::<Vec<_>>().join("; ").replace(":;", ":")
        }
        (None, Err(_)) => String::new(),
    };
    let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let mut record = Record {
        plan: plan.name.clone(),
        about: plan.about.clone(),
        began: machine::utc(SystemTime::now()),
        ended: String::new(),
        commit: commit(),
        server,
        server_flags: args.server_flag.clone(),
        wire: args.wire.name().to_owned(),
        command: std::env::args().skip(1).collect(),
        bench: env!("CARGO_PKG_VERSION").to_owned(),
        seed: plan.seed,
        threads,
        driver: args.io.to_string(),
        repeats: plan.repeats,
        warm_up_ms: millis(plan.warm_up),
        measured_ms: millis(plan.measured),
        utilisation: plan.utilisation,
        arrivals: plan.arrivals.name().to_owned(),
        motif: plan.motif.name().to_owned(),
        checksum: plan.checksum.name().to_owned(),
        measurements: plan.order().len(),
        estimated_seconds: estimate,
        took_seconds: 0.0,
        isolated_network: isolate::is_isolated(),
        load_average_before: machine::load_average(),
        load_average_after: 0.0,
        machine: Machine::here(),
        warnings: Vec::new(),
    };
    note_doubts(&mut record, args);
    record
}

/// Doubts that hold for the whole run.
fn note_doubts(record: &mut Record, args: &Args) {
    let load = record.load_average_before;
    if load > machine::cores() as f64 / 2.0 {
        record.warn(&Warning::MachineBusy { load });
    }
    if args.server.is_some() {
        record.warn(&Warning::ForeignServer);
    } else if !record.isolated_network {
        let congestion_control = record.machine.congestion_control.clone();
        record.warn(&Warning::SharedNetwork { congestion_control });
    }
    if cfg!(debug_assertions) {
        record.warn(&Warning::DebugBuild);
    }
}

fn version(name: &str) -> Result<Version, String> {
    match name {
        "v1.1" => Ok(Version::V1_1),
        "v1.0" => Ok(Version::V1_0),
        other => Err(format!("'{other}' is no version; there are v1.1 and v1.0")),
    }
}

/// The commit of the working tree, with a + where files differ from it.
fn commit() -> String {
    let hash = output(Command::new("git").args(["rev-parse", "--short=9", "HEAD"]));
    if hash.is_empty() {
        return "unknown".to_owned();
    }
    let changed = output(Command::new("git").args(["status", "--porcelain", "-uno"]));
    if changed.is_empty() { hash } else { format!("{hash}+") }
}

fn duration(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 100.0 => format!("about {seconds:.0} s"),
        seconds if seconds < 6_000.0 => format!("about {:.0} min", seconds / 60.0),
        seconds => format!("about {:.1} h", seconds / 3_600.0),
    }
}
