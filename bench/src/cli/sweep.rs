//! `fxsrv-bench sweep`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use fxsrv::io::Driver;
use fxsrv::wire::Version;
use indicatif::{ProgressBar, ProgressStyle};

use super::subject::{self, Foreign, Named};
use super::{Fail, record, say};
use crate::content::Store;
use crate::count::CostCounters;
use crate::gate::server::Programs;
use crate::measure::isolate;
use crate::measure::machine;
use crate::measure::servers::{IN_ONE_PROCESS, Servers, Setup};
use crate::measure::syscalls::Counter;
use crate::plan::{Cell, Pace, Plan};
use crate::report;
use crate::results::Dir;
use crate::results::record::Record;
use crate::results::table::{self, Row};
use crate::sweep::{Bench, Subject, remaining};

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
      fxsrv-bench sweep --wire v1.0 --server host:5000 --token-file token --insecure

  A file store, with TLS and without:
      fxsrv-bench sweep --plan bench/plans/store.toml
      fxsrv-bench sweep --plan bench/plans/store.toml --plain

  Ours and another in turns, cell by cell, both in v1.0, with ratios in the report:
      fxsrv-bench sweep --reference host:5000 --token-file token --insecure")]
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
    pub(super) binary: Option<PathBuf>,

    /// A flag for master and worker, such as --server-flag=--io=epoll; repeat it for more
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    pub(super) server_flag: Vec<String>,

    /// Measure a server that runs already
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "binary")]
    pub(super) server: Option<String>,

    /// Measure a server that runs already beside ours, in turns, both in v1.0
    #[arg(long, value_name = "HOST:PORT", requires = "token_file", conflicts_with = "server")]
    pub(super) reference: Option<String>,

    /// Trust servers that these certificates have signed
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Trust any server
    #[arg(long, conflicts_with = "ca")]
    insecure: bool,

    /// Speak to a store without TLS
    #[arg(long)]
    plain: bool,

    /// What the server that runs already wants to be shown; a store may do without
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Which version to speak: v1.1 or v1.0 [default: v1.1; v1.0 beside a reference]
    #[arg(long, value_name = "VERSION", value_parser = version)]
    wire: Option<Version>,

    /// What carries the generator's input and output: epoll or uring
    #[arg(long, value_name = "DRIVER", default_value = "epoll")]
    pub(super) io: Driver,

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

impl Args {
    /// A reference that speaks v1.0 is held against ours in v1.0.
    pub(super) fn version(&self) -> Version {
        let default = if self.reference.is_some() { Version::V1_0 } else { Version::V1_1 };
        self.wire.unwrap_or(default)
    }

    pub(super) fn threads(&self) -> usize {
        self.threads.map_or_else(|| (machine::cores() / 2).max(1), usize::from)
    }

    fn foreign(&self) -> Result<Option<Foreign>, Fail> {
        let flags = [("--server", &self.server), ("--reference", &self.reference)];
        let named = flags.into_iter().find_map(|(flag, server)| Some((flag, server.as_ref()?)));
        let Some((flag, server)) = named else { return Ok(None) };
        let (ca, token_file) = (self.ca.as_deref(), self.token_file.as_deref());
        let (insecure, is_plain) = (self.insecure, self.plain);
        Named { flag, server, ca, insecure, token_file, is_plain }.resolve().map(Some)
    }
}

/// One of at most two servers, with the directory of its results.
struct Side<'a> {
    bench: Bench<'a>,
    dir: Dir,
    done: Vec<Row>,
}

pub(super) fn run(args: &Args) -> Result<(), Fail> {
    let began = Instant::now();
    let (text, plan) = read_plan(args)?;
    // A server elsewhere is out of reach from a network of our own.
    let is_elsewhere = args.server.is_some() || args.reference.is_some();
    if !is_elsewhere && !args.shared_network {
        isolate::enter();
    }
    let foreign = args.foreign()?;
    let own = if args.server.is_none() { Some(start_servers(args, &plan)?) } else { None };
    let counting = if own.is_some() { start_counting(args, &plan)? } else { None };
    let mut contents = contents(args, &plan)?;
    let bench = |subject| Bench {
        subject,
        plan: &plan,
        version: args.version(),
        threads: args.threads(),
        driver: args.io,
        counters: None,
    };
    let path = results_path(args, &plan);
    let mut sides = Vec::new();
    if let Some(servers) = &own {
        let calls = Counter::find();
        let counters = Some(CostCounters { usual: servers, counting: counting.as_ref(), calls });
        sides.push(Side::new(Bench { counters, ..bench(Subject::Own(servers)) }, &path));
    }
    if let Some(Foreign { target, token }) = &foreign {
        let path = if own.is_some() { Dir::open(&path).reference() } else { path.clone() };
        sides.push(Side::new(bench(Subject::Foreign { target, token: token.as_ref() }), &path));
    }
    let paces = announce(&plan, &sides, &mut contents)?;
    if args.dry_run {
        return Ok(());
    }
    for side in &mut sides {
        side.open(args, &text)?;
    }
    let estimate = paces.iter().map(|pace| pace.seconds(&plan, &plan.order())).sum();
    let mut record = record::begin(args, &plan, &sides[0].bench, estimate);
    measure_all(&sides, &paces, &mut contents, &mut record)?;
    record.took_seconds = began.elapsed().as_secs_f64();
    finish(args, &sides[0].dir, record)
}

fn finish(args: &Args, dir: &Dir, mut record: Record) -> Result<(), Fail> {
    record.ended = machine::utc(SystemTime::now());
    record.load_average_after = machine::load_average();
    record.save(&dir.record()).map_err(kept)?;
    report::render(dir).map_err(kept)?;
    for noted in &record.warnings {
        let place = match noted.measurements {
            0 => String::new(),
            count => {
                let all = record.measurements;
                format!(" ({count} of {all} measurements; the first is shown)")
            }
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

// As a function of `map_err`.
#[allow(clippy::needless_pass_by_value)]
fn kept(error: std::io::Error) -> Fail {
    Fail::new(format!("cannot keep results: {error}"))
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
    let is_v1_0 = args.version() == Version::V1_0 && !plan.is_of_store();
    let plan = if is_v1_0 { plan.for_v1_0() } else { plan };
    if plan.cells.is_empty() {
        return Err(Fail::new(format!("{shown} has nothing that v1.0 can do")));
    }
    check_subject(args, &plan)?;
    Ok((text, plan))
}

/// Whether the server that is meant can do what the plan asks for.
fn check_subject(args: &Args, plan: &Plan) -> Result<(), Fail> {
    if plan.is_of_store() {
        return match args.reference {
            Some(_) => Err(Fail::new("--reference is for converters, and the plan about a store")),
            None => Ok(()),
        };
    }
    if args.plain {
        return Err(Fail::new("--plain is for stores: a converter always speaks TLS"));
    }
    if args.server.is_some() && args.token_file.is_none() {
        return Err(Fail::new("a converter wants a token: give --token-file"));
    }
    plan.check_version(args.version()).map_err(Fail::new)
}

fn contents(args: &Args, plan: &Plan) -> Result<Store, Fail> {
    if let Some(content) = &args.content {
        std::fs::create_dir_all(content)
            .map_err(|error| Fail::new(format!("cannot make {}: {error}", content.display())))?;
    }
    Ok(Store::new(plan.seed, args.content.clone()))
}

fn results_path(args: &Args, plan: &Plan) -> PathBuf {
    let date = machine::utc(SystemTime::now());
    let date = date.split('T').next().unwrap_or_default();
    let beside = if args.reference.is_some() { "-with-reference" } else { "" };
    args.out.join(format!("{date}-{}{beside}-{}", plan.name, record::commit()))
}

impl<'a> Side<'a> {
    fn new(bench: Bench<'a>, path: &Path) -> Self {
        Self { bench, dir: Dir::open(path), done: Vec::new() }
    }

    fn open(&mut self, args: &Args, text: &str) -> Result<(), Fail> {
        let path = self.dir.path().to_owned();
        if path.exists() && !args.resume {
            return Err(Fail::new(format!("{} is there already", path.display()))
                .with_hint("go on with it by --resume, or remove it"));
        }
        self.dir = Dir::create(&path).map_err(kept)?;
        if self.dir.cells().exists() {
            table::cut_to_whole_rows(&self.dir.cells()).map_err(kept)?;
            self.done = table::read(&self.dir.cells()).map_err(kept)?;
        }
        std::fs::write(self.dir.plan(), text).map_err(kept)
    }

    fn remaining(&self) -> Vec<(u32, Cell)> {
        remaining(self.bench.plan, &self.done)
    }
}

/// Tries each job on each server, and says how long all of it will take.
fn announce(plan: &Plan, sides: &[Side<'_>], contents: &mut Store) -> Result<Vec<Pace>, Fail> {
    let order = plan.order();
    let paces = sides
        .iter()
        .map(|side| side.bench.probe(&order, contents).map_err(Fail::new))
        .collect::<Result<Vec<_>, _>>()?;
    let seconds: f64 = paces.iter().map(|pace| pace.seconds(plan, &order)).sum();
    say(&format!(
        "{}: {} cells, {} measurements, {} in all",
        plan.name,
        plan.cells.len(),
        order.len() * sides.len(),
        duration(seconds),
    ));
    Ok(paces)
}

/// Measures what each side lacks: where there are two, cell by cell in turns.
fn measure_all(
    sides: &[Side<'_>],
    paces: &[Pace],
    contents: &mut Store,
    record: &mut Record,
) -> Result<(), Fail> {
    for name in sides[0].done.iter().flat_map(|row| row.warnings.split_whitespace()) {
        record.count_of_cell(name);
    }
    let open: Vec<_> = sides.iter().map(Side::remaining).collect();
    let plan = sides[0].bench.plan;
    let turns: Vec<_> = plan
        .order()
        .into_iter()
        .flat_map(|turn| (0..sides.len()).map(move |at| (at, turn)))
        .filter(|(at, turn)| open[*at].contains(turn))
        .collect();
    let seconds = |at: usize, cell: &Cell| paces[at].cell_seconds(plan, cell);
    let total = turns.iter().map(|(at, (_, cell))| seconds(*at, cell)).sum();
    let bar = ProgressBar::new(tenths(total)).with_style(
        ProgressStyle::with_template("{bar:30} {percent:>3} %, {eta} left  {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.enable_steady_tick(Duration::from_secs(1));
    for (at, (repeat, cell)) in turns {
        bar.set_message(cell.to_string());
        let side = &sides[at];
        let measured = side.bench.measure(repeat, &cell, contents, &side.dir);
        let (_, warnings) = measured.map_err(|error| {
            Fail::new(format!("{cell}: {error}")).with_hint("what is measured is kept: --resume")
        })?;
        if at == 0 {
            for warning in &warnings {
                record.warn_of_cell(warning);
            }
        }
        bar.inc(tenths(seconds(at, &cell)));
    }
    bar.finish_and_clear();
    Ok(())
}

// A positive number of tenths of seconds.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn tenths(seconds: f64) -> u64 {
    (seconds * 10.0) as u64
}

fn start_servers(args: &Args, plan: &Plan) -> Result<Servers, Fail> {
    start(args, plan, subject::binary(args.binary.as_ref())?, &[])
}

/// The same servers with an allocator that counts, where they have been built.
fn start_counting(args: &Args, plan: &Plan) -> Result<Option<Servers>, Fail> {
    let Ok(program) = std::env::current_exe() else { return Ok(None) };
    let binary = Programs::beside(&program).counted;
    if args.binary.is_some() || !binary.exists() {
        // Of another program than the one that is measured nothing is to be learnt.
        return Ok(None);
    }
    start(args, plan, binary, &IN_ONE_PROCESS).map(Some)
}

fn start(
    args: &Args,
    plan: &Plan,
    binary: PathBuf,
    worker_flags: &[&str],
) -> Result<Servers, Fail> {
    let worker_flags = worker_flags.iter().map(ToString::to_string).collect();
    let setup = Setup { binary, flags: args.server_flag.clone(), worker_flags, ..Setup::default() };
    if plan.is_of_store() {
        return Servers::start_store(&setup, args.plain).map_err(Fail::new);
    }
    Servers::start(&setup).map_err(Fail::new)
}

fn version(name: &str) -> Result<Version, String> {
    match name {
        "v1.1" => Ok(Version::V1_1),
        "v1.0" => Ok(Version::V1_0),
        other => Err(format!("'{other}' is no version; there are v1.1 and v1.0")),
    }
}

fn duration(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 100.0 => format!("about {seconds:.0} s"),
        seconds if seconds < 6_000.0 => format!("about {:.0} min", seconds / 60.0),
        seconds => format!("about {:.1} h", seconds / 3_600.0),
    }
}
