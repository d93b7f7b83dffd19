//! Who is let in to be converted, and when: by the time that it will take, and the memory.
//!
//! A request that cannot be done in time is refused at once, before its body is read where that can be
//! told: it is better off elsewhere, or later, than in a line that it will leave unserved. What is
//! expected of a conversion is what the last ones of its kind took, by the clock on the wall, so that
//! a machine that is busy with other things counts as slower.

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::slots::Done;
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
    line: Option<Line>,
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

/// What takes a place: a request, or a file of a batch, which has no line.
#[derive(Debug, Clone, Copy)]
struct Claim {
    line: Option<Line>,
    target: Target,
    body_bytes: u64,
    load: Load,
}

/// A request whose turn it is, until it is dropped.
pub(super) struct Turn {
    admission: Admission,
    claim: Claim,
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
            slots_max: slots,
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
        let Wish { line, target, body_bytes, .. } = wish;
        let load = self.load(target, body_bytes, input)?;
        let claim = Claim { line: Some(line), target, body_bytes, load };
        let mut place = {
            let mut state = self.lock();
            self.hold_against_time(&state, &wish)?;
            match self.line_up(&mut state, claim) {
                Lined::Turn(turn) => return Ok(turn),
                Lined::Full => return Err(self.full(&state, &wish)),
                Lined::Waits(place) => place,
            }
        };
        let until = wish.deadline.min(Instant::now() + self.0.limits.queue_timeout);
        let told = tokio::time::timeout_at(until.into(), &mut place.told).await;
        if let Ok(Ok(Told::Turn)) = told {
            return Ok(self.turn(claim));
        }
        drop(place);
        Err(self.full(&self.lock(), &wish))
    }

    /// Waits until nobody else does and a slot is free, for a file of a batch, which is `input`.
    ///
    /// # Errors
    ///
    /// It needs more memory than there is.
    pub(super) async fn enter_behind(&self, target: Target, input: &[u8]) -> Result<Turn, Failure> {
        let body_bytes = input.len() as u64;
        let load = self.load(target, body_bytes, input)?;
        let claim = Claim { line: None, target, body_bytes, load };
        let lined = self.line_up(&mut self.lock(), claim);
        match lined {
            Lined::Turn(turn) => return Ok(turn),
            Lined::Waits(mut place) => {
                if let Ok(Told::Turn) = (&mut place.told).await {
                    return Ok(self.turn(claim));
                }
            }
            Lined::Full => {}
        }
        Err(busy("there is no place for a file of a batch".to_owned(), Duration::ZERO))
    }

    /// Slots that requests leave to files of batches.
    pub(super) fn slots_behind(&self) -> usize {
        self.lock().turns.slots_behind()
    }

    fn line_up(&self, state: &mut State, claim: Claim) -> Lined<'_> {
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        match state.turns.enter(claim.line, ticket, claim.load) {
            Entered::Runs => Lined::Turn(self.turn(claim)),
            Entered::Full => Lined::Full,
            Entered::Waits { evicted } => {
                let (tell, told) = oneshot::channel();
                let Claim { line, load, .. } = claim;
                state.waiting.insert(ticket, Waiting { tell, line, load, since: Instant::now() });
                if let Some(evicted) = evicted.and_then(|evicted| state.waiting.remove(&evicted)) {
                    let _ = evicted.tell.send(Told::Evicted);
                }
                Lined::Waits(InLine { admission: self, ticket, claim, told })
            }
        }
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
            let state = here.lock();
            let in_line = state.waiting.values().filter(|waiting| waiting.line.is_some());
            let oldest = in_line.map(|waiting| waiting.since).min();
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

    fn turn(&self, claim: Claim) -> Turn {
        Turn { admission: self.clone(), claim, is_over: false }
    }

    /// What the conversion will take. Of a picture the header tells; of anything else it is a guess,
    /// which may be no more than there is.
    fn load(&self, target: Target, body_bytes: u64, input: &[u8]) -> Result<Load, Failure> {
        let (needed, max) = (convert::memory(input, target), self.0.limits.working_bytes_max);
        let is_picture = !matches!(target, Target::Pdf | Target::Text);
        if is_picture && needed > max {
            let message =
                format!("the picture takes about {needed} bytes of memory, over the {max} here");
            return Err(Failure::new(Code::LimitExceeded, message)
                .with_hint("send a smaller picture; the operator may raise --memory"));
        }
        let us = self.lock().costs[index(target)].expected_us(body_bytes);
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
    /// The conversion is over. The memory of its result is counted until what is returned is dropped.
    pub(super) fn converted(mut self, done: &Done) -> Kept {
        let (is_typical, bytes) = match &done.result {
            Ok(result) => (true, result.bytes.len() as u64),
            // A file that is refused takes next to no time.
            Err(failure) => (failure.code == Code::DeadlineExceeded, 0),
        };
        let Claim { line, target, body_bytes, load } = self.claim;
        let mut state = self.admission.lock();
        if is_typical {
            state.costs[index(target)].learn(done.convert_us.into(), body_bytes);
        }
        state.turns.ended(line, load, bytes);
        Admission::call_next(&mut state);
        drop(state);
        self.is_over = true;
        Kept { admission: self.admission.clone(), bytes }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.is_over {
            let mut state = self.admission.lock();
            state.turns.ended(self.claim.line, self.claim.load, 0);
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

/// What becomes of a claim.
enum Lined<'a> {
    Turn(Turn),
    Waits(InLine<'a>),
    Full,
}

/// A place in a line, given up when it is dropped.
struct InLine<'a> {
    admission: &'a Admission,
    ticket: Ticket,
    claim: Claim,
    told: oneshot::Receiver<Told>,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        let mut state = self.admission.lock();
        if state.waiting.remove(&self.ticket).is_some() {
            state.turns.left(self.claim.line, self.ticket);
            Admission::call_next(&mut state);
            return;
        }
        drop(state);
        // It may have been told in the same moment, and did not hear it.
        if let Ok(Told::Turn) = self.told.try_recv() {
            drop(self.admission.turn(self.claim));
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
