//! Plans, journals and whole runs over directories.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;
use crate::convert::{Options, Target};
use crate::isolation::Isolation;
use crate::limits::ConvertLimits;
use crate::worker::Converter;

const TEXT: &Choice = &Choice { include: Vec::new(), extension: "pdf" };

fn reach() -> Reach {
    Reach::new(ReachConfig::default()).unwrap()
}

fn source(path: &Path) -> Place {
    Place::source(path.as_os_str()).unwrap()
}

fn make(dir: &Path, from: &Place, to: &Place, choice: &Choice) -> Result<Plan, PlanError> {
    Plan::make(Some(dir), 7, (from, to), choice, &reach(), &mut |_| {})
}

fn job(from: &Path, to: &Path) -> Job {
    Job {
        source: source(from),
        target: Place::target(to.as_os_str()).unwrap(),
        choice: TEXT.clone(),
        convert: Target::Pdf,
        options: Options::default(),
        replace: false,
        parallel: 4,
    }
}

/// A run with a journal in `dir`; what is told of each file, and how it went.
fn run_in(dir: &Path, job: &Job, stop_after: usize) -> (Vec<(String, &'static str)>, Tally) {
    let mut journal = Journal::open(dir).unwrap();
    let plan = match Plan::open(dir, 7).unwrap() {
        Some(plan) => plan,
        None => make(dir, &job.source, &job.target, &job.choice).unwrap(),
    };
    journal.read(plan.count()).unwrap();
    let limits = (ConvertLimits::default(), Duration::from_secs(60));
    let converter = Converter::start(2, limits.0, &[], &Isolation::Thread, limits.1).unwrap();
    let (stop, mut told) = (AtomicBool::new(false), Vec::new());
    let tools = (&Arc::new(reach()), &converter);
    let tally = run(job, &plan, tools, &journal, &stop, &mut |event, _| {
        let code = event.outcome.as_ref().map_or_else(|trouble| trouble.code, |_| "OK");
        told.push((event.source.clone(), code));
        if told.len() == stop_after {
            stop.store(true, Ordering::Relaxed);
        }
    });
    (told, tally.unwrap())
}

#[test]
fn a_batch_converts_everything_and_says_what_failed() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("in"), dir.path().join("out"));
    fs::create_dir_all(from.join("deep/er")).unwrap();
    for number in 0..20 {
        fs::write(from.join(format!("deep/{number}.txt")), format!("text {number}")).unwrap();
    }
    fs::write(from.join("deep/er/last.md"), "text").unwrap();
    fs::write(from.join("bad.bin"), [0_u8; 64]).unwrap();
    let job = job(&from, &to);
    let (told, tally) = run_in(&dir.path().join("journal"), &job, usize::MAX);
    assert_eq!((told.len(), tally.converted, tally.left()), (22, 21, 0));
    assert_eq!(tally.failed.into_iter().collect::<Vec<_>>(), [("UNKNOWN_TYPE", 1)]);
    assert!(fs::read(to.join("deep/er/last.pdf")).unwrap().starts_with(b"%PDF-"));
    assert_eq!(fs::read_dir(to.join("deep")).unwrap().count(), 21);
    // The next run has the failure to try alone.
    fs::write(from.join("bad.bin"), "text after all").unwrap();
    let (told, tally) = run_in(&dir.path().join("journal"), &job, usize::MAX);
    assert_eq!(told, [("bad.bin".to_owned(), "OK")]);
    assert_eq!((tally.before, tally.converted, tally.left()), (21, 1, 0));
}

#[test]
fn a_run_that_was_stopped_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("in"), dir.path().join("out"));
    fs::create_dir(&from).unwrap();
    for number in 0..30 {
        fs::write(from.join(format!("{number}.txt")), format!("text {number}")).unwrap();
    }
    let job = job(&from, &to);
    let journal = dir.path().join("journal");
    let (first, tally) = run_in(&journal, &job, 5);
    assert!(first.len() >= 5 && first.len() < 30, "{}", first.len());
    assert_eq!(tally.left(), 30 - first.len() as u64);
    let (second, tally) = run_in(&journal, &job, usize::MAX);
    assert_eq!(first.len() + second.len(), 30);
    assert_eq!((tally.before, tally.left()), (first.len() as u64, 0));
    assert!(first.iter().all(|told| !second.contains(told)));
}

#[test]
fn what_a_lost_journal_does_again_meets_its_own_results() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("in"), dir.path().join("out"));
    fs::create_dir(&from).unwrap();
    for name in ["a.txt", "b.txt"] {
        fs::write(from.join(name), name).unwrap();
    }
    let job = job(&from, &to);
    run_in(&dir.path().join("one"), &job, usize::MAX);
    fs::write(to.join("b.pdf"), "somebody's own").unwrap();
    let (_, tally) = run_in(&dir.path().join("two"), &job, usize::MAX);
    assert_eq!((tally.converted, tally.same), (0, 1));
    assert_eq!(tally.failed.get(Trouble::EXISTS), Some(&1));
    assert_eq!(fs::read(to.join("b.pdf")).unwrap(), b"somebody's own");
    let job = Job { replace: true, ..job };
    let (_, tally) = run_in(&dir.path().join("three"), &job, usize::MAX);
    assert_eq!((tally.converted, tally.failures()), (2, 0));
}

#[test]
fn two_files_of_one_result_are_told_before_any_work() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("in");
    fs::create_dir(&from).unwrap();
    for name in ["a.png", "a.jpg", "b.png", "c.x", "c.y"] {
        fs::write(from.join(name), name).unwrap();
    }
    let to = Place::target(dir.path().join("out").as_os_str()).unwrap();
    let choice = Choice { include: Vec::new(), extension: "webp" };
    let journal = dir.path().join("journal");
    fs::create_dir(&journal).unwrap();
    let error = make(&journal, &source(&from), &to, &choice).unwrap_err();
    let PlanError::Collision { result, mut sources, more } = error else { panic!("{error}") };
    sources.sort();
    assert_eq!((result.as_str(), sources), ("a.webp", vec!["a.jpg".into(), "a.png".into()]));
    assert_eq!(more, ", and 1 more results have several sources");
    assert!(Plan::open(&journal, 7).unwrap().is_none(), "a plan that is none is not kept");
    let png = Choice { include: vec![glob::Pattern::new("*.png").unwrap()], ..choice };
    assert_eq!(make(&journal, &source(&from), &to, &png).unwrap().count(), 2);
}

#[test]
fn a_plan_is_the_same_when_it_is_read_again_and_only_for_its_job() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("list");
    fs::write(&list, "# a list\n/x/a.txt\r\n\ns3://b/k/c.txt\nstore:d.txt\nrelative/e.txt")
        .unwrap();
    let to = Place::target(dir.path().join("out").as_os_str()).unwrap();
    let made = make(dir.path(), &source(&list), &to, TEXT).unwrap();
    let read = Plan::open(dir.path(), 7).unwrap().unwrap();
    let entries = |plan: &Plan| -> Vec<_> { plan.entries().unwrap().map(Result::unwrap).collect() };
    assert_eq!(entries(&made), entries(&read));
    let expected = ["/x/a.txt", "s3://b/k/c.txt", "store:d.txt", "relative/e.txt"];
    let found: Vec<_> = entries(&read).into_iter().map(|(_, entry)| entry).collect();
    assert_eq!(found, expected.map(|text| text.as_bytes().to_vec()));
    assert!(matches!(Plan::open(dir.path(), 8), Err(PlanError::Another(_))));
}

#[test]
fn results_of_a_manifest_are_called_after_their_paths() {
    for (line, name) in [
        ("/x/a.txt", "x/a.txt"),
        ("./y/a.txt", "y/a.txt"),
        ("s3://b/k/c.txt", "k/c.txt"),
        ("store:d.txt", "d.txt"),
    ] {
        assert_eq!(Address::own_name(line.as_bytes()).unwrap(), name.as_bytes());
    }
    for line in ["../a", "/", "s3://b", "s3://b/", "store:a/b", "a/../../b"] {
        assert_eq!(Address::own_name(line.as_bytes()).unwrap_err().code, Trouble::NOT_ALLOWED);
    }
}

#[test]
fn a_journal_ends_where_a_crash_cut_it() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    assert!(matches!(Journal::open(dir.path()), Err(JournalError::Locked(_))));
    let writer = journal.write(None).unwrap();
    for (number, code) in [(3, None), (1, Some(Trouble::NOT_FOUND)), (70, None)] {
        assert!(writer.add(Record { number, code, bytes_in: 10, bytes_out: 20 }));
    }
    writer.finish().unwrap();
    drop(journal);
    let path = dir.path().join("journal");
    let whole = fs::read(&path).unwrap();
    for cut in 0..=whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let mut journal = Journal::open(dir.path()).unwrap();
        journal.read(100).unwrap();
        let lines = whole[..cut].split_inclusive(|byte| *byte == b'\n');
        let lines = lines.filter(|line| line.ends_with(b"\n")).count();
        let done = [3, 1, 70].map(|number| journal.is_done(number));
        assert_eq!(done, [lines > 0, false, lines > 2], "cut at {cut}");
        let good: usize =
            whole.split_inclusive(|byte| *byte == b'\n').take(lines).map(<[u8]>::len).sum();
        assert_eq!(fs::metadata(&path).unwrap().len(), good as u64);
    }
    let mut damaged = whole.clone();
    damaged[2] ^= 1;
    fs::write(&path, &damaged).unwrap();
    let mut journal = Journal::open(dir.path()).unwrap();
    journal.read(100).unwrap();
    assert_eq!(journal.done_count(), 0, "a damaged line is none, and neither is what follows");
}
