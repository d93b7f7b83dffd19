//! What is known of a worker's health. A state machine without a clock.

use crate::limits::FleetLimits;

/// How a worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::master) enum State {
    /// Nobody has asked it yet.
    Unknown,
    /// It answers.
    Up,
    /// It has said that it is about to leave.
    Draining,
    /// It does not answer.
    Down,
}

impl State {
    pub(in crate::master) fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Draining => "draining",
            Self::Down => "down",
        }
    }
}

/// What was seen of a worker, by a check or by a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::master) enum Seen {
    /// It answered.
    Good,
    /// It said that it is about to leave.
    Leaving,
    /// It could not be reached, or broke off.
    Bad,
}

/// In which order workers are asked. Nobody of a later rank is asked while there is one of an
/// earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Rank {
    /// It is up, and nothing speaks against it.
    Ready = 0,
    /// It is unknown, busy, or up with a failure that no success has followed yet.
    Doubtful = 1,
    /// It is down or about to leave: better than nothing, and hardly that.
    Last = 2,
}

/// A worker's state, and what speaks against it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Health {
    state: State,
    /// How often in a row the contrary of the state was seen.
    contrary: u32,
}

impl Default for Health {
    fn default() -> Self {
        Self { state: State::Unknown, contrary: 0 }
    }
}

impl Health {
    pub(super) fn state(self) -> State {
        self.state
    }

    pub(super) fn rank(self) -> Rank {
        match self.state {
            State::Up if self.contrary == 0 => Rank::Ready,
            State::Up | State::Unknown => Rank::Doubtful,
            State::Draining | State::Down => Rank::Last,
        }
    }

    /// Whether the next look should come sooner than usual.
    pub(super) fn is_in_doubt(self) -> bool {
        self.contrary > 0
    }

    /// Takes in what was seen; the new state where that turns it.
    ///
    /// The first look decides for a worker that is unknown, and its own word always counts at once:
    /// one that says it leaves, and one that serves again after it said so.
    pub(super) fn see(&mut self, seen: Seen, limits: &FleetLimits) -> Option<State> {
        let to = match (self.state, seen) {
            (State::Unknown | State::Draining, Seen::Good) => State::Up,
            (State::Unknown, Seen::Bad) => State::Down,
            (State::Unknown | State::Up | State::Down, Seen::Leaving) => State::Draining,
            (State::Up | State::Draining, Seen::Bad) => {
                return self.turn(State::Down, limits.fails_to_down);
            }
            (State::Down, Seen::Good) => return self.turn(State::Up, limits.passes_to_up),
            (State::Up, Seen::Good)
            | (State::Down, Seen::Bad)
            | (State::Draining, Seen::Leaving) => {
                self.contrary = 0;
                return None;
            }
        };
        *self = Self { state: to, contrary: 0 };
        Some(to)
    }

    fn turn(&mut self, to: State, needed: u32) -> Option<State> {
        self.contrary += 1;
        if self.contrary < needed {
            return None;
        }
        *self = Self { state: to, contrary: 0 };
        Some(to)
    }
}

#[cfg(test)]
mod tests {
    use super::Seen::{Bad, Good, Leaving};
    use super::*;

    const LIMITS: FleetLimits =
        FleetLimits { fails_to_down: 3, passes_to_up: 2, ..FleetLimits::DEFAULT };

    /// What flips, look by look.
    fn flips(health: &mut Health, seen: &[Seen]) -> Vec<Option<State>> {
        seen.iter().map(|seen| health.see(*seen, &LIMITS)).collect()
    }

    #[test]
    fn the_first_look_decides() {
        for (seen, state) in [(Good, State::Up), (Bad, State::Down), (Leaving, State::Draining)] {
            assert_eq!(Health::default().see(seen, &LIMITS), Some(state));
        }
        assert_eq!(Health::default().rank(), Rank::Doubtful);
    }

    #[test]
    fn it_takes_three_failures_in_a_row_to_fall_and_two_answers_to_rise() {
        let mut health = Health::default();
        assert_eq!(
            flips(&mut health, &[Good, Bad, Bad, Good, Bad, Bad, Bad, Bad]),
            [Some(State::Up), None, None, None, None, None, Some(State::Down), None]
        );
        assert_eq!(
            flips(&mut health, &[Good, Bad, Good, Good, Good]),
            [None, None, None, Some(State::Up), None]
        );
    }

    #[test]
    fn a_single_failure_puts_a_worker_behind_the_others_until_it_answers() {
        let mut health = Health::default();
        flips(&mut health, &[Good]);
        assert_eq!((health.rank(), health.is_in_doubt()), (Rank::Ready, false));
        flips(&mut health, &[Bad]);
        assert_eq!((health.rank(), health.is_in_doubt()), (Rank::Doubtful, true));
        flips(&mut health, &[Good]);
        assert_eq!(health.rank(), Rank::Ready);
        flips(&mut health, &[Bad, Bad, Bad]);
        assert_eq!(health.rank(), Rank::Last);
    }

    #[test]
    fn its_own_word_counts_at_once() {
        let mut health = Health::default();
        assert_eq!(
            flips(&mut health, &[Good, Leaving, Leaving, Bad, Good, Leaving, Bad, Bad, Bad]),
            [
                Some(State::Up),
                Some(State::Draining),
                None,
                None,
                Some(State::Up),
                Some(State::Draining),
                None,
                None,
                Some(State::Down),
            ]
        );
        assert_eq!(health.rank(), Rank::Last);
    }
}
