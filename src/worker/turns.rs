//! Whose turn it is to be converted: a bounded queue that is fair between tokens.
//!
//! Each token has a line of its own, and the line that has had the least time of the slots is next. A
//! line that comes anew begins where the others are, so that silence saves nothing up. Where the
//! queue is full, the longest line gives up its last place. Files of batches have no line: it is their
//! turn where nobody waits in one and a slot is free. There is no I/O and no clock here.

use std::collections::{HashMap, VecDeque};

/// What a token's requests are told apart by.
pub(super) type Line = u64;

/// A request that waits, as its owner names it.
pub(super) type Ticket = u64;

/// What a request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Load {
    /// The time of a slot that it is expected to take.
    pub(super) us: u64,
    /// Memory that it works with.
    pub(super) bytes: u64,
}

/// How much there may be.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_field_names, reason = "limits are named as such everywhere")]
pub(super) struct Bounds {
    /// Conversions at once.
    pub(super) slots_max: usize,
    /// Requests that are converted, or about to be.
    pub(super) running_max: usize,
    /// Requests that wait.
    pub(super) waiting_max: usize,
    /// Memory of those that are converted.
    pub(super) bytes_max: u64,
}

/// Who waits and who runs.
#[derive(Debug)]
pub(super) struct Turns {
    bounds: Bounds,
    lines: HashMap<Line, Queue>,
    /// What has no line.
    behind: VecDeque<(Ticket, Load)>,
    behind_running: usize,
    running: usize,
    running_bytes: u64,
    /// Those in lines.
    waiting: usize,
    /// Expected time of all that run, and of those that wait in lines.
    backlog_us: u64,
    /// Time that the line that was served last has had.
    clock_us: u64,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<(Ticket, Load)>,
    waiting_us: u64,
    running: usize,
    /// Time of slots that it has had, from the clock of all on.
    served_us: u64,
}

/// What becomes of a request that comes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entered {
    /// It is its turn at once.
    Runs,
    /// It waits, and for it another one has to go.
    Waits {
        /// Who has to go.
        evicted: Option<Ticket>,
    },
    /// There is no place.
    Full,
}

impl Turns {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            lines: HashMap::new(),
            behind: VecDeque::new(),
            behind_running: 0,
            running: 0,
            running_bytes: 0,
            waiting: 0,
            backlog_us: 0,
            clock_us: 0,
        }
    }

    /// A request comes; one without a line stays behind all that have one, and there may be as many of
    /// them as come.
    pub(super) fn enter(
        &mut self,
        line: impl Into<Option<Line>>,
        ticket: Ticket,
        load: Load,
    ) -> Entered {
        let Some(line) = line.into() else { return self.enter_behind(ticket, load) };
        if self.waiting == 0 && self.has_room(load) {
            self.join(line);
            self.backlog_us += load.us;
            self.run(line, load);
            return Entered::Runs;
        }
        let evicted = if self.waiting < self.bounds.waiting_max {
            None
        } else {
            match self.evict_for(line) {
                Some(evicted) => Some(evicted),
                None => return Entered::Full,
            }
        };
        let queue = self.join(line);
        queue.waiting.push_back((ticket, load));
        queue.waiting_us += load.us;
        self.waiting += 1;
        self.backlog_us += load.us;
        Entered::Waits { evicted }
    }

    fn enter_behind(&mut self, ticket: Ticket, load: Load) -> Entered {
        self.behind.push_back((ticket, load));
        // Whoever came before it is first.
        if self.behind.len() == 1 && self.next_behind().is_some() {
            return Entered::Runs;
        }
        Entered::Waits { evicted: None }
    }

    /// Whose turn it is now, if it is anybody's; to be asked until it is nobody's.
    pub(super) fn next(&mut self) -> Option<Ticket> {
        if self.waiting == 0 {
            return self.next_behind();
        }
        let waits = |(line, queue): (&Line, &Queue)| {
            queue.waiting.front().map(|(_, load)| (queue.served_us, *line, *load))
        };
        let (_, line, load) = self.lines.iter().filter_map(waits).min_by_key(|of| (of.0, of.1))?;
        // One that needs much is not overtaken for ever: nobody runs before it.
        if !self.has_room(load) {
            return None;
        }
        let queue = self.lines.get_mut(&line)?;
        let (ticket, load) = queue.waiting.pop_front()?;
        queue.waiting_us -= load.us;
        self.waiting -= 1;
        self.run(line, load);
        Some(ticket)
    }

    /// The first without a line, if nobody in a line waits and a slot has nothing to do.
    fn next_behind(&mut self) -> Option<Ticket> {
        let (ticket, load) = *self.behind.front()?;
        if self.waiting > 0 || self.running >= self.bounds.slots_max || !self.has_room(load) {
            return None;
        }
        self.behind.pop_front();
        self.behind_running += 1;
        self.running += 1;
        self.running_bytes += load.bytes;
        self.backlog_us += load.us;
        Some(ticket)
    }

    /// A request that ran is over, and `kept_bytes` of its memory are still needed, until they are
    /// [`Self::released`].
    pub(super) fn ended(&mut self, line: impl Into<Option<Line>>, load: Load, kept_bytes: u64) {
        self.running -= 1;
        self.running_bytes = self.running_bytes - load.bytes + kept_bytes;
        self.backlog_us -= load.us;
        let Some(line) = line.into() else {
            self.behind_running -= 1;
            return;
        };
        if let Some(queue) = self.lines.get_mut(&line) {
            queue.running -= 1;
        }
        self.forget(line);
    }

    /// What was kept of a request is needed no more.
    pub(super) fn released(&mut self, kept_bytes: u64) {
        self.running_bytes -= kept_bytes;
    }

    /// Whether a request of this line would find a place.
    pub(super) fn has_place(&self, line: Line) -> bool {
        self.waiting < self.bounds.waiting_max || self.longest_beside(line).is_some()
    }

    /// A request that waited does not any more.
    pub(super) fn left(&mut self, line: impl Into<Option<Line>>, ticket: Ticket) {
        let Some(line) = line.into() else {
            self.behind.retain(|(own, _)| *own != ticket);
            return;
        };
        let Some(queue) = self.lines.get_mut(&line) else { return };
        let Some(at) = queue.waiting.iter().position(|(own, _)| *own == ticket) else { return };
        if let Some((_, load)) = queue.waiting.remove(at) {
            queue.waiting_us -= load.us;
            self.waiting -= 1;
            self.backlog_us -= load.us;
        }
        self.forget(line);
    }

    /// The time of slots that is before a request of this line: all there is, or where others have
    /// more than their share, as much of theirs as of its own.
    pub(super) fn ahead_us(&self, line: Line) -> u64 {
        let own = self.lines.get(&line).map_or(0, |queue| queue.waiting_us);
        let lines = self.lines.len() as u64 + u64::from(!self.lines.contains_key(&line));
        let running =
            self.backlog_us - self.lines.values().map(|queue| queue.waiting_us).sum::<u64>();
        self.backlog_us.min(running + own.saturating_mul(lines))
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Slots that are left to those without a line.
    pub(super) fn slots_behind(&self) -> usize {
        let before = self.running - self.behind_running + self.waiting;
        self.bounds.slots_max.saturating_sub(before)
    }

    /// Memory that nobody works with.
    pub(super) fn bytes_left(&self) -> u64 {
        self.bounds.bytes_max.saturating_sub(self.running_bytes)
    }

    fn has_room(&self, load: Load) -> bool {
        self.running < self.bounds.running_max
            && self.running_bytes.saturating_add(load.bytes) <= self.bounds.bytes_max
    }

    /// The line, which begins with the time that the others have had.
    fn join(&mut self, line: Line) -> &mut Queue {
        let clock_us = self.clock_us;
        self.lines.entry(line).or_insert_with(|| Queue { served_us: clock_us, ..Queue::default() })
    }

    fn run(&mut self, line: Line, load: Load) {
        self.running += 1;
        self.running_bytes += load.bytes;
        if let Some(queue) = self.lines.get_mut(&line) {
            queue.running += 1;
            self.clock_us = self.clock_us.max(queue.served_us);
            // Whatever is not known yet costs something.
            queue.served_us += load.us.max(1);
        }
    }

    /// The last of the longest line, if that is longer than this one would be.
    fn evict_for(&mut self, line: Line) -> Option<Ticket> {
        let (longest, ticket) = self.longest_beside(line)?;
        self.left(longest, ticket);
        Some(ticket)
    }

    /// The longest line and the last in it, if it is longer than this one would be.
    fn longest_beside(&self, line: Line) -> Option<(Line, Ticket)> {
        let own = self.lines.get(&line).map_or(0, |queue| queue.waiting.len());
        let last = |(line, queue): (&Line, &Queue)| {
            queue.waiting.back().map(|(ticket, _)| (queue.waiting.len(), *ticket, *line))
        };
        // Of lines that are as long, the one that somebody has joined last.
        let (length, ticket, longest) = self.lines.iter().filter_map(last).max()?;
        (longest != line && length > own + 1).then_some((longest, ticket))
    }

    /// A line of which nobody is here takes no memory.
    fn forget(&mut self, line: Line) {
        let is_empty = |queue: &Queue| queue.running == 0 && queue.waiting.is_empty();
        if self.lines.get(&line).is_some_and(is_empty) {
            self.lines.remove(&line);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LOAD: Load = Load { us: 10, bytes: 1 };

    fn turns(running_max: usize, waiting_max: usize) -> Turns {
        Turns::new(Bounds { slots_max: 1, running_max, waiting_max, bytes_max: 100 })
    }

    /// Ends the running ones, of whichever line, and says who is next, each time.
    fn order(
        turns: &mut Turns,
        mut running: Vec<Line>,
        owner: impl Fn(Ticket) -> Line,
    ) -> Vec<Line> {
        let mut order = Vec::new();
        while let Some(line) = running.pop() {
            turns.ended(line, LOAD, 0);
            while let Some(ticket) = turns.next() {
                running.push(owner(ticket));
                order.push(owner(ticket));
            }
        }
        order
    }

    #[test]
    fn a_line_that_floods_takes_turns_with_the_others() {
        let mut turns = turns(1, 100);
        assert_eq!(turns.enter(1, 0, LOAD), Entered::Runs);
        for ticket in 1..7 {
            assert_eq!(turns.enter(1, ticket, LOAD), Entered::Waits { evicted: None });
        }
        for ticket in 7..10 {
            turns.enter(2, ticket, LOAD);
        }
        let owner = |ticket| if ticket < 7 { 1 } else { 2 };
        assert_eq!(order(&mut turns, vec![1], owner), [2, 1, 2, 1, 2, 1, 1, 1, 1]);
        assert!(turns.lines.is_empty() && turns.backlog_us == 0 && turns.running_bytes == 0);
    }

    #[test]
    fn turns_are_of_time_and_not_of_number() {
        let mut turns = turns(1, 100);
        turns.enter(1, 0, LOAD);
        for ticket in 1..4 {
            turns.enter(1, ticket, Load { us: 100, bytes: 1 });
        }
        for ticket in 4..9 {
            turns.enter(2, ticket, Load { us: 50, bytes: 1 });
        }
        let mut order = Vec::new();
        turns.ended(1, LOAD, 0);
        while let Some(ticket) = turns.next() {
            let (line, us) = if ticket < 4 { (1, 100) } else { (2, 50) };
            order.push(line);
            turns.ended(line, Load { us, bytes: 1 }, 0);
        }
        assert_eq!(order[..6], [2, 1, 2, 2, 1, 2]);
    }

    #[test]
    fn a_full_queue_takes_from_the_longest_line() {
        let mut turns = turns(1, 4);
        turns.enter(1, 0, LOAD);
        for ticket in 1..5 {
            turns.enter(1, ticket, LOAD);
        }
        assert_eq!(turns.enter(1, 5, LOAD), Entered::Full);
        assert_eq!(turns.enter(2, 6, LOAD), Entered::Waits { evicted: Some(4) });
        assert_eq!(turns.enter(2, 7, LOAD), Entered::Waits { evicted: Some(3) });
        assert_eq!(turns.enter(2, 8, LOAD), Entered::Full, "both have two");
        assert_eq!(turns.enter(3, 9, LOAD), Entered::Waits { evicted: Some(7) });
        assert_eq!(turns.waiting(), 4);
    }

    #[test]
    fn memory_is_never_passed_and_nobody_waits_for_ever() {
        let mut turns = turns(10, 100);
        let big = Load { us: 10, bytes: 80 };
        assert_eq!(turns.enter(1, 0, Load { us: 10, bytes: 30 }), Entered::Runs);
        assert_eq!(turns.enter(1, 1, big), Entered::Waits { evicted: None });
        assert_eq!(
            turns.enter(1, 2, LOAD),
            Entered::Waits { evicted: None },
            "not before the big one"
        );
        assert_eq!((turns.next(), turns.bytes_left()), (None, 70));
        turns.ended(1, Load { us: 10, bytes: 30 }, 0);
        assert_eq!((turns.next(), turns.next(), turns.next()), (Some(1), Some(2), None));
        assert_eq!(turns.bytes_left(), 19);
        turns.left(1, 99);
        turns.ended(1, big, 50);
        assert_eq!(turns.bytes_left(), 49, "its result is still there");
        turns.released(50);
        turns.ended(1, LOAD, 0);
        assert!(turns.lines.is_empty());
    }

    #[test]
    fn what_has_no_line_gives_way_to_every_line() {
        let mut turns = turns(2, 100);
        assert_eq!(turns.enter(None, 0, LOAD), Entered::Runs, "a slot is free");
        assert_eq!(turns.slots_behind(), 1, "its own slot counts as one for its kind");
        for ticket in 1..4 {
            assert_eq!(turns.enter(None, ticket, LOAD), Entered::Waits { evicted: None });
        }
        assert_eq!(turns.ahead_us(1), 10, "a request waits for what has begun, and for no more");
        assert_eq!(turns.enter(1, 10, LOAD), Entered::Runs, "it is next at the slot");
        assert_eq!(turns.slots_behind(), 0);
        assert_eq!(turns.enter(1, 11, LOAD), Entered::Waits { evicted: None });
        turns.ended(None, LOAD, 0);
        assert_eq!((turns.next(), turns.next()), (Some(11), None));
        turns.ended(1, LOAD, 0);
        assert_eq!(turns.next(), None, "the other request has the slot");
        turns.left(None, 1);
        turns.ended(1, LOAD, 0);
        assert_eq!((turns.next(), turns.next()), (Some(2), None), "one for the one slot");
        turns.ended(None, LOAD, 0);
        assert_eq!(turns.next(), Some(3));
        turns.ended(None, LOAD, 0);
        assert_eq!((turns.backlog_us, turns.running, turns.behind_running), (0, 0, 0));
    }

    #[test]
    fn what_has_no_line_takes_from_the_same_memory() {
        let mut turns = turns(4, 100);
        let load = |bytes| Load { us: 10, bytes };
        assert_eq!(turns.enter(None, 0, load(60)), Entered::Runs);
        assert_eq!(turns.enter(1, 1, load(60)), Entered::Waits { evicted: None });
        assert_eq!(turns.enter(None, 2, load(1)), Entered::Waits { evicted: None });
        turns.ended(None, load(60), 50);
        assert_eq!(turns.next(), None, "its result is still there, and nobody overtakes");
        turns.released(50);
        assert_eq!((turns.next(), turns.next()), (Some(1), None));
        turns.ended(1, load(60), 0);
        assert_eq!((turns.next(), turns.bytes_left()), (Some(2), 99));
    }

    #[test]
    fn what_is_ahead_of_a_line_is_no_more_than_its_share_of_turns() {
        let mut turns = turns(1, 100);
        for ticket in 0..11 {
            turns.enter(1, ticket, LOAD);
        }
        assert_eq!((turns.ahead_us(1), turns.ahead_us(2)), (110, 10));
        turns.enter(2, 11, LOAD);
        assert_eq!((turns.ahead_us(1), turns.ahead_us(2)), (120, 30));
        turns.left(2, 11);
        assert_eq!(turns.ahead_us(1), 110);
    }
}
