//! Who is let in to be converted, and when: by the time that it will take, and the memory.
//!
//! A request that cannot be done in time is refused at once, before its body is read where that can be
//! told: it is better off elsewhere, or later, than in a line that it will leave unserved. What is
//! expected of a conversion is what the last ones of its kind took, by the clock on the wall, so that
//! a machine that is busy with other things counts as slower.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::turns::{Bounds, Entered, Line, Load, Ticket, Turns};
use crate::auth::stripped;
use crate::convert::{self, Target};
use crate::limits::ServerLimits;
use crate::metrics::Registry;
use crate::wire::{Code, Failure};

/// Requests that may wait for each slot. At 10 ms each the last one waits a third of a second; what
/// takes longer is bounded by the time that it may wait.
const WAITING_PER_SLOT: usize = 32;

/// With the slots: a second one for each is on its way to it, so that none is idle while the next is
/// told.
const RUNNING_PER_SLOT: usize = 2;

/// A client that comes back sooner only finds the same.
const RETRY_AFTER_MIN_MS: u64 = 50;

/// What a conversion may be expected to take, beside the mean of its kind: a file that is larger than
/// the others takes longer, and has a part that does not depend on its size.
const LARGER_MAX: u64 = 16;

/// Lets requests in. Clones share it.
#[derive(Clone)]
pub(super) struct Admission(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    slots: u64,
    limits: ServerLimits,
    /// Tokens are told apart by their hashes under a key of this process, and not kept.
    lines: RandomState,
}

struct State {
    turns: Turns,
    waiting: HashMap<Ticket, Waiting>,
    next_ticket: Ticket,
    costs: [Cost; 5],
}

struct Waiting {
    tell: oneshot::Sender<Told>,
    line: Line,
    load: Load,
    since: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Turn,
    /// Another line needs the place more.
    Evicted,
}

/// What conversions to one type take: means in which each new one weighs an eighth.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    us: u64,
    body_bytes: u64,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    pub(super) line: Line,
    pub(super) target: Target,
    pub(super) body_bytes: u64,
    /// By when the request must be over.
    pub(super) deadline: Instant,
}

/// A request whose turn it is, until it is dropped.
pub(super) struct Turn {
    admission: Admission,
    wish: Wish,
    load: Load,
    is_over: bool,
}

/// The memory of a result, until it has left.
pub(super) struct Kept {
    admission: Admission,
    bytes: u64,
}

impl Admission {
    pub(super) fn new(slots: usize, limits: ServerLimits) -> Self {
        let bounds = Bounds {
            running_max: slots * RUNNING_PER_SLOT,
            waiting_max: slots * WAITING_PER_SLOT,
            bytes_max: limits.working_bytes_max,
        };
        let state = State {
            turns: Turns::new(bounds),
            waiting: HashMap::new(),
            next_ticket: 0,
            costs: [Cost::default(); 5],
        };
        let (state, slots) = (Mutex::new(state), slots.max(1) as u64);
        Self(Arc::new(Inner { state, slots, limits, lines: RandomState::new() }))
    }

    /// The line of a token, as it stands in a header.
    pub(super) fn line(&self, token: &[u8]) -> Line {
        self.0.lines.hash_one(stripped(token))
    }

    /// Whether a request has a chance, before its body is here.
    ///
    /// # Errors
    ///
    /// It has none now, or never.
    pub(super) fn look(&self, wish: &Wish) -> Result<(), Failure> {
        let max = self.0.limits.bodies_bytes_max;
        if wish.body_bytes > max {
            let over = wish.body_bytes - max;
            let message = format!(
                "the body has {} bytes, {over} over the {max} that this worker has memory for",
                wish.body_bytes
            );
            return Err(Failure::new(Code::TooLarge, message));
        }
        let state = self.lock();
        self.hold_against_time(&state, wish)?;
        if state.turns.has_place(wish.line) { Ok(()) } else { Err(self.full(&state, wish)) }
    }

    /// Waits for the turn of a request whose body, `input`, is here.
    ///
    /// # Errors
    ///
    /// There is no place for it, or its turn has not come in time.
    pub(super) async fn enter(&self, wish: Wish, input: &[u8]) -> Result<Turn, Failure> {
        let load = self.load(&wish, input)?;
        let (ticket, told) = {
            let mut state = self.lock();
            self.hold_against_time(&state, &wish)?;
            let ticket = state.next_ticket;
            state.next_ticket += 1;
            match state.turns.enter(wish.line, ticket, load) {
                Entered::Runs => return Ok(self.turn(wish, load)),
                Entered::Full => return Err(self.full(&state, &wish)),
                Entered::Waits { evicted } => {
                    let (tell, told) = oneshot::channel();
                    let since = Instant::now();
                    let waiting = Waiting { tell, line: wish.line, load, since };
                    state.waiting.insert(ticket, waiting);
                    if let Some(evicted) =
                        evicted.and_then(|evicted| state.waiting.remove(&evicted))
                    {
                        let _ = evicted.tell.send(Told::Evicted);
                    }
                    (ticket, told)
                }
            }
        };
        let mut place = InLine { admission: self, ticket, wish, load, told };
        let until = wish.deadline.min(Instant::now() + self.0.limits.queue_timeout);
        let told = tokio::time::timeout_at(until.into(), &mut place.told).await;
        if let Ok(Ok(Told::Turn)) = told {
            return Ok(self.turn(wish, load));
        }
        drop(place);
        Err(self.full(&self.lock(), &wish))
    }

    /// Shows who waits, and the memory that is left, in `metrics`.
    pub(super) fn show_in(&self, metrics: &Registry) {
        let gauge = |name, help, read: fn(&Self) -> u64| {
            let here = self.clone();
            metrics.gauge(name, help, move || read(&here));
        };
        gauge("waiting", "Conversions that wait for their turn.", |here| {
            here.lock().turns.waiting() as u64
        });
        gauge("oldest_waiting_ms", "How long the first of them has waited.", |here| {
            let oldest = here.lock().waiting.values().map(|waiting| waiting.since).min();
            oldest.map_or(0, |since| millis(since.elapsed()))
        });
        gauge("queue_timeout_ms", "How long one may wait.", |here| {
            millis(here.0.limits.queue_timeout)
        });
        gauge("working_budget", "Bytes that conversions may work with.", |here| {
            here.0.limits.working_bytes_max
        });
        gauge("working_budget_left", "Bytes that no conversion works with.", |here| {
            here.lock().turns.bytes_left()
        });
    }

    fn turn(&self, wish: Wish, load: Load) -> Turn {
        Turn { admission: self.clone(), wish, load, is_over: false }
    }

    /// What the conversion will take. Of a picture the header tells; of anything else it is a guess,
    /// which may be no more than there is.
    fn load(&self, wish: &Wish, input: &[u8]) -> Result<Load, Failure> {
        let (needed, max) = (convert::memory(input, wish.target), self.0.limits.working_bytes_max);
        let is_picture = !matches!(wish.target, Target::Pdf | Target::Text);
        if is_picture && needed > max {
            let message =
                format!("the picture takes about {needed} bytes of memory, over the {max} here");
            return Err(Failure::new(Code::LimitExceeded, message)
                .with_hint("send a smaller picture; the operator may raise --memory"));
        }
        let us = self.lock().costs[index(wish.target)].expected_us(wish.body_bytes);
        Ok(Load { us, bytes: needed.min(max) })
    }

    fn hold_against_time(&self, state: &State, wish: &Wish) -> Result<(), Failure> {
        let (wait, own) = self.expected(state, wish);
        let left = wish.deadline.saturating_duration_since(Instant::now());
        let limits = &self.0.limits;
        let allowed =
            limits.queue_timeout.min(limits.convert_timeout.min(left).saturating_sub(own));
        // An expectation is a mean: whoever is let in should not be refused after a long wait.
        let allowed = allowed * 4 / 5;
        // Without anybody ahead it may try: the expectation is a mean, and not a promise.
        if wait.is_zero() || wait <= allowed {
            return Ok(());
        }
        let message = format!(
            "{} conversions are ahead, about {} ms: too long to be done in time",
            state.turns.waiting(),
            wait.as_millis()
        );
        Err(busy(message, wait.saturating_sub(allowed)))
    }

    /// How long a request will wait, and what it will take itself.
    fn expected(&self, state: &State, wish: &Wish) -> (Duration, Duration) {
        let wait_us = state.turns.ahead_us(wish.line) / self.0.slots;
        let own_us = state.costs[index(wish.target)].expected_us(wish.body_bytes);
        (Duration::from_micros(wait_us), Duration::from_micros(own_us))
    }

    /// No place: half of what is ahead is done by the time that is told.
    fn full(&self, state: &State, wish: &Wish) -> Failure {
        let (wait, _) = self.expected(state, wish);
        busy(
            format!("{} conversions wait for {} slots", state.turns.waiting(), self.0.slots),
            wait / 2,
        )
    }

    /// Tells whose turn it is now.
    fn call_next(state: &mut State) {
        while let Some(ticket) = state.turns.next() {
            let Some(Waiting { tell, line, load, .. }) = state.waiting.remove(&ticket) else {
                continue;
            };
            if tell.send(Told::Turn).is_err() {
                state.turns.ended(line, load, 0);
            }
        }
    }

    /// Nothing under this lock can be left half done.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// The conversion is over, after so many microseconds where that says something of others; its
    /// result takes so many bytes. Those are counted until what is returned is dropped.
    pub(super) fn converted(mut self, convert_us: Option<u32>, result_bytes: u64) -> Kept {
        let mut state = self.admission.lock();
        if let Some(convert_us) = convert_us {
            state.costs[index(self.wish.target)].learn(convert_us.into(), self.wish.body_bytes);
        }
        state.turns.ended(self.wish.line, self.load, result_bytes);
        Admission::call_next(&mut state);
        drop(state);
        self.is_over = true;
        Kept { admission: self.admission.clone(), bytes: result_bytes }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.is_over {
            let mut state = self.admission.lock();
            state.turns.ended(self.wish.line, self.load, 0);
            Admission::call_next(&mut state);
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let mut state = self.admission.lock();
        state.turns.released(self.bytes);
        Admission::call_next(&mut state);
    }
}

/// A place in a line, given up when it is dropped.
struct InLine<'a> {
    admission: &'a Admission,
    ticket: Ticket,
    wish: Wish,
    load: Load,
    told: oneshot::Receiver<Told>,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        let mut state = self.admission.lock();
        if state.waiting.remove(&self.ticket).is_some() {
            state.turns.left(self.wish.line, self.ticket);
            Admission::call_next(&mut state);
            return;
        }
        drop(state);
        // It may have been told in the same moment, and did not hear it.
        if let Ok(Told::Turn) = self.told.try_recv() {
            drop(self.admission.turn(self.wish, self.load));
        }
    }
}

impl Cost {
    fn expected_us(self, body_bytes: u64) -> u64 {
        let times = |us: u64| us.saturating_mul(body_bytes) / self.body_bytes.max(1);
        times(self.us).clamp(self.us / LARGER_MAX, self.us.saturating_mul(LARGER_MAX))
    }

    fn learn(&mut self, us: u64, body_bytes: u64) {
        let mean = |mean: u64, new: u64| if mean == 0 { new } else { (mean * 7 + new) / 8 };
        self.us = mean(self.us, us);
        self.body_bytes = mean(self.body_bytes, body_bytes);
    }
}

fn busy(message: String, wait: Duration) -> Failure {
    // Those who are refused together need not come back together.
    let ms = millis(wait).max(RETRY_AFTER_MIN_MS);
    let ms = ms + fastrand::u64(0..=ms / 4);
    Failure::new(Code::Busy, message)
        .with_retry_after_ms(u32::try_from(ms).unwrap_or(u32::MAX))
        .with_hint("try again after the given time")
}

fn index(target: Target) -> usize {
    target as usize
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn admission(slots: usize, queue_timeout_ms: u64) -> Admission {
        let queue_timeout = Duration::from_millis(queue_timeout_ms);
        Admission::new(slots, ServerLimits { queue_timeout, ..ServerLimits::default() })
    }

    fn wish(line: Line) -> Wish {
        let deadline = Instant::now() + Duration::from_secs(60);
        Wish { line, target: Target::Pdf, body_bytes: 100, deadline }
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(future)
    }

    #[test]
    fn a_turn_that_ends_is_the_next_ones() {
        block_on(async {
            let admission = admission(1, 10_000);
            let first = admission.enter(wish(1), b"").await.unwrap();
            let second = admission.enter(wish(1), b"").await.unwrap();
            let there = admission.clone();
            let third = async move { there.enter(wish(1), b"").await.map(drop).is_ok() };
            let ends = async {
                assert_eq!(admission.lock().turns.waiting(), 1);
                drop(first.converted(Some(1000), 10));
            };
            assert!(tokio::join!(biased; third, ends).0);
            drop(second);
            let state = admission.lock();
            assert!(state.waiting.is_empty());
            assert_eq!(state.turns.bytes_left(), ServerLimits::default().working_bytes_max);
        });
    }

    #[test]
    fn whoever_cannot_be_done_in_time_is_refused_at_once_and_told_when() {
        block_on(async {
            let admission = admission(1, 500);
            drop(admission.enter(wish(1), b"").await.unwrap().converted(Some(400_000), 0));
            let _running = admission.enter(wish(1), b"").await.unwrap();
            admission.look(&wish(1)).unwrap();
            let _next = admission.enter(wish(1), b"").await.unwrap();
            let refused = admission.look(&wish(1)).unwrap_err();
            assert_eq!(refused.code, Code::Busy);
            assert!((400..=500).contains(&refused.retry_after_ms), "{}", refused.retry_after_ms);
            let late = Wish { deadline: Instant::now() + Duration::from_millis(10), ..wish(2) };
            assert!(admission.look(&late).is_err());
        });
    }

    #[test]
    fn a_turn_that_does_not_come_is_given_up() {
        block_on(async {
            let admission = admission(1, 20);
            let _running = [
                admission.enter(wish(1), b"").await.unwrap(),
                admission.enter(wish(1), b"").await.unwrap(),
            ];
            assert_eq!(admission.enter(wish(1), b"").await.err().unwrap().code, Code::Busy);
            assert_eq!(admission.lock().turns.waiting(), 0);
        });
    }

    #[test]
    fn memory_is_told_from_the_header_and_never_passed() {
        block_on(async {
            let limits = ServerLimits { working_bytes_max: 64 << 20, ..ServerLimits::default() };
            let admission = Admission::new(4, limits);
            let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
            png.extend([0, 0, 8, 0, 0, 0, 8, 0, 8, 6, 0, 0, 0]);
            let picture = Wish { target: Target::Jpg, ..wish(1) };
            let first = admission.enter(picture, &png).await.unwrap();
            assert!(admission.lock().turns.bytes_left() < 32 << 20);
            let there = admission.clone();
            let second = async { there.enter(picture, &png).await.is_ok() };
            let ends = async {
                assert_eq!(admission.lock().turns.waiting(), 1);
                drop(first);
            };
            assert!(tokio::join!(biased; second, ends).0);
            png[16..24].copy_from_slice(&[0, 0, 0x20, 0, 0, 0, 0x20, 0]);
            let failure = admission.enter(picture, &png).await.err().unwrap();
            assert_eq!(failure.code, Code::LimitExceeded);
        });
    }
}
