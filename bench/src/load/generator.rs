//! Threads, connections, and the run as a whole.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use fxsrv::io::{Socket, spawn};
use fxsrv::tls::ClientTls;
use fxsrv::transport::{PlainStream, Stream, TlsStream};
use tokio::sync::Semaphore;

use super::record::Times;
use super::store::Turn;
use super::{Answered, Drive, Failed, Load, Recorder, Reuse, Schedule, Script, Target, pacer};

/// Between the agreement on a start and the start: threads and event loops are set up meanwhile.
const HEAD_START: Duration = Duration::from_millis(20);

/// A goodbye is a courtesy to the server; what it costs is not part of a request.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(500);
const GOODBYE_BYTES_MAX: u64 = 64 * 1024;

/// Why there was no run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A thread or its event loop cannot be set up.
    #[error("cannot start a thread of the generator: {0}")]
    Thread(#[from] std::io::Error),
    /// The TLS configuration is refused.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
    /// A thread panicked: our own mistake.
    #[error("a thread of the generator panicked")]
    Panicked,
}

/// What a run measured.
#[derive(Debug)]
pub struct Run<S> {
    /// The counts of all threads.
    pub counts: Recorder,
    /// The time that the recorded requests took together: in an open loop from the first recorded
    /// instant to the last answer, or to the end of the schedule where that is later; in a closed
    /// one from the first recorded request to the last answer.
    pub elapsed: Duration,
    /// What `sample` gave at the end of the warm-up.
    pub before: S,
    /// And once the last answer was here.
    pub after: S,
}

/// Puts `load` on `target`. `sample` is called when recording starts and when it has ended: for the
/// counters of processes.
///
/// # Errors
///
/// A thread, its event loop or TLS cannot be set up. What the server does wrong is counted, and is
/// no error here.
pub fn run<S>(
    load: &Load,
    target: &Target,
    script: &Script,
    mut sample: impl FnMut() -> S,
) -> Result<Run<S>, LoadError> {
    let threads = load.threads.clamp(1, load.connections.max(1));
    let tls = target.tls()?;
    let began = Instant::now() + HEAD_START;
    let (counts, before) = thread::scope(|scope| {
        let mut running = Vec::with_capacity(threads);
        for number in 0..threads {
            let part = Part { number, threads, load, target, script, tls: tls.clone(), began };
            let name = format!("load-{number}");
            running.push(thread::Builder::new().name(name).spawn_scoped(scope, || part.run())?);
        }
        thread::sleep((began + load.warm_up).saturating_duration_since(Instant::now()));
        let before = sample();
        let mut counts = Recorder::default();
        for thread in running {
            counts.merge(&thread.join().map_err(|_| LoadError::Panicked)??);
        }
        Ok::<_, LoadError>((counts, before))
    })?;
    let after = sample();
    let elapsed = match load.drive {
        Drive::Open { .. } => counts.last_end.saturating_sub(load.warm_up).max(load.measured),
        Drive::Closed | Drive::Fixed { .. } => {
            counts.last_end.saturating_sub(counts.first_due.unwrap_or_default())
        }
    };
    let elapsed = elapsed.max(Duration::from_micros(1));
    Ok(Run { counts, elapsed, before, after })
}

/// `script` with the files kept that it is about: they are sent first, by each connection of `load` its
/// own. What fails there fails again in the load, and is counted then.
///
/// # Errors
///
/// As of [`run`].
pub fn prepared(load: &Load, target: &Target, script: &Script) -> Result<Script, LoadError> {
    let mut script = script.clone();
    if let Script::Store(about) = &mut script
        && let Some(first) = about.preparation()
    {
        let once = Load { drive: Drive::Fixed { each: 1 }, ..load.clone() };
        run(&once, target, &Script::Store(first), || ())?;
    }
    Ok(script)
}

/// One thread's share of a run.
struct Part<'a> {
    number: usize,
    threads: usize,
    load: &'a Load,
    target: &'a Target,
    script: &'a Script,
    tls: ClientTls,
    began: Instant,
}

impl Part<'_> {
    fn run(self) -> Result<Recorder, LoadError> {
        let load = self.load;
        // The remainder goes to the first threads, one each.
        let connections = load.connections / self.threads
            + usize::from(self.number < load.connections % self.threads);
        let end = load.warm_up + load.measured;
        let mut pacer = None;
        let source = match load.drive {
            Drive::Closed => Source::Answers,
            Drive::Fixed { each } => Source::Number(each),
            Drive::Open { rate, arrivals } => {
                let dues =
                    Schedule::new(arrivals, rate, end, load.seed).share(self.number, self.threads);
                let (permits, thread) = pacer::start(dues.clone(), self.began, connections)?;
                pacer = Some(thread);
                Source::Clock { permits, dues: RefCell::new(Box::new(dues)) }
            }
        };
        let context = Rc::new(Context {
            load: load.clone(),
            target: self.target.clone(),
            script: self.script.clone(),
            tls: self.tls,
            began: self.began,
            source,
            counts: RefCell::new(Recorder::default()),
        });
        let all = Rc::clone(&context);
        let (number, threads) = (self.number, self.threads);
        let asking = (0..connections).map(move |at| number + at * threads);
        load.driver.run(async move {
            let tasks: Vec<_> =
                asking.map(|asker| spawn(Asker::new(Rc::clone(&all), asker).run())).collect();
            for task in tasks {
                // A task ends by itself, or with the panic that its thread ends with.
                if let Err(error) = task.await
                    && error.is_panic()
                {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
        })?;
        if let Some(pacer) = pacer {
            pacer.join().map_err(|_| LoadError::Panicked)?;
        }
        Ok(context.counts.take())
    }
}

/// What all connections of a thread share.
struct Context {
    load: Load,
    target: Target,
    script: Script,
    tls: ClientTls,
    began: Instant,
    source: Source,
    counts: RefCell<Recorder>,
}

enum Source {
    /// A request is due once the last one is answered.
    Answers,
    /// The same, so many times.
    Number(u64),
    /// A request is due when the clock says so. Whoever is free takes the next one: no queue is
    /// kept, so that a server that stalls costs no memory here.
    Clock { permits: Arc<Semaphore>, dues: RefCell<Box<dyn Iterator<Item = Duration>>> },
}

impl Context {
    /// When the next request is due, or was; `None` once there is no more. In a closed loop a
    /// connection ends with its time, and not before one request of it was recorded: a conversion
    /// may take longer than the whole loop.
    async fn next_due(&self, recorded: u64, last: Option<Duration>) -> Option<Duration> {
        let end = self.load.warm_up + self.load.measured;
        match &self.source {
            Source::Answers => {
                let due = self.at_once(last).await;
                (due < end || recorded == 0).then_some(due)
            }
            Source::Number(each) => {
                let due = self.at_once(last).await;
                (recorded < *each).then_some(due)
            }
            Source::Clock { permits, dues } => loop {
                let waiting_since = self.began.elapsed();
                permits.acquire().await.ok()?.forget();
                let due = dues.borrow_mut().next()?;
                let now = self.began.elapsed();
                if now > end + self.load.drain {
                    if self.is_recorded(due) {
                        self.counts.borrow_mut().fail(Failed::Unsent);
                    }
                    continue;
                }
                if waiting_since <= due && self.is_recorded(due) {
                    self.counts.borrow_mut().record_lateness(now.saturating_sub(due));
                }
                return Some(due);
            },
        }
    }

    /// The end of the last request, or the start of the run.
    async fn at_once(&self, last: Option<Duration>) -> Duration {
        if let Some(last) = last {
            return last;
        }
        let wait = self.began.saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        self.began.elapsed()
    }

    fn is_recorded(&self, due: Duration) -> bool {
        due >= self.load.warm_up || matches!(self.source, Source::Number(_))
    }
}

/// One connection at a time, asking.
struct Asker {
    context: Rc<Context>,
    turn: Turn,
    kept: Option<Stream>,
    /// The first answer is read with its checksum, the others without: hashing is not what is
    /// measured.
    verified: bool,
}

impl Asker {
    fn new(context: Rc<Context>, asker: usize) -> Self {
        Self { context, turn: Turn { asker, done: 0 }, kept: None, verified: false }
    }

    async fn run(mut self) {
        let context = Rc::clone(&self.context);
        let (mut recorded, mut last) = (0, None);
        while let Some(due) = context.next_due(recorded, last).await {
            // In a closed loop a request is due when it is sent: one look at the clock for both.
            let sent = match context.source {
                Source::Clock { .. } => context.began.elapsed(),
                Source::Answers | Source::Number(_) => due,
            };
            let (outcome, stream) = self.ask(context.began + sent).await;
            let ended = context.began.elapsed();
            last = Some(ended);
            if context.is_recorded(due) {
                recorded += 1;
                let times = Times { due, sent, ended };
                context.counts.borrow_mut().record(times, context.script.body_bytes(), outcome);
            }
            self.verified |= outcome.is_ok();
            self.turn.done += u64::from(outcome.is_ok());
            if outcome.is_err() {
                // A server that fails at once must not be asked in a busy loop.
                tokio::time::sleep(Duration::from_millis(1)).await;
                last = Some(context.began.elapsed());
            }
            if let Some(stream) = stream {
                stream.finish(GOODBYE_BYTES_MAX, GOODBYE_TIMEOUT).await;
                last = Some(context.began.elapsed());
            }
        }
        if let Some(stream) = self.kept.take() {
            stream.finish(GOODBYE_BYTES_MAX, GOODBYE_TIMEOUT).await;
        }
    }

    /// Asks once. A connection that is not kept is handed back, to be closed outside of the time of
    /// the request.
    async fn ask(&mut self, now: Instant) -> (Result<Answered, Failed>, Option<Stream>) {
        let load = &self.context.load;
        let deadline = now + load.request_timeout;
        let mut stream = match self.kept.take() {
            Some(stream) => stream,
            None => match self.open().await {
                Ok(stream) => stream,
                Err(failed) => return (Err(failed), None),
            },
        };
        stream.socket().set_deadline(Some(deadline));
        let (outcome, reusable) =
            self.context.script.exchange(&mut stream, self.turn, !self.verified).await;
        if reusable && load.reuse == Reuse::Kept {
            stream.socket().set_deadline(None);
            self.kept = Some(stream);
            return (outcome, None);
        }
        (outcome, Some(stream))
    }

    async fn open(&self) -> Result<Stream, Failed> {
        let Context { load, target, script, .. } = &*self.context;
        let socket = Socket::connect(load.driver, target.address, load.request_timeout)
            .await
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::TimedOut => Failed::Timeout,
                _ => Failed::Connect,
            })?;
        let mut stream = if target.is_plain {
            PlainStream::new(socket).into()
        } else {
            self.secure(socket).await?
        };
        stream.socket().set_deadline(Some(Instant::now() + load.request_timeout));
        script.open(&mut stream).await?;
        Ok(stream)
    }

    async fn secure(&self, socket: Socket) -> Result<Stream, Failed> {
        let Context { load, target, tls, .. } = &*self.context;
        let own;
        let tls = match load.reuse {
            Reuse::NewUnresumed => {
                own = target.tls().map_err(|_| Failed::Handshake)?;
                &own
            }
            Reuse::Kept | Reuse::New => tls,
        };
        let connecting = TlsStream::connect(socket, tls, &target.name, load.request_timeout);
        connecting.await.map(Stream::from).map_err(|_| Failed::Handshake)
    }
}
