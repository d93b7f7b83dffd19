//! Where strings run over the page, worked out once for all of an operator.

use super::font::Font;
use super::layout::Run;
use super::state::{State, Text};

/// Where the strings of one operator run over the page.
#[derive(Debug)]
pub(super) struct Line {
    start: (f64, f64),
    /// On the page, for a step of 1 in text space along the strings.
    step: (f64, f64),
    /// Horizontal scaling, which vertical strings do not know.
    pub(super) stretch: f64,
    /// `None` where nothing of them can be seen.
    pub(super) run: Option<Run>,
    /// What `step` is along the direction of `run`.
    step_along: f64,
}

impl Line {
    pub(super) fn new(state: &State, text: &Text, font: &Font) -> Self {
        // From text space to the page; strings move along its x axis, or down its y axis.
        let space = text.matrix.then(&state.ctm);
        let (step, stretch, forward) = if font.vertical {
            ((space.c, space.d), 1.0, -1.0)
        } else {
            ((space.a, space.b), state.stretch, state.stretch)
        };
        let forward = forward * state.size.signum();
        let height = state.size.abs() * font.height * space.c.hypot(space.d);
        let run = Run::new(step.0 * forward, step.1 * forward, height);
        let step_along = run.as_ref().map_or(0.0, |run| run.along(step));
        Self { start: space.apply(0.0, state.rise), step, stretch, run, step_along }
    }

    pub(super) fn at(&self, moved: f64) -> (f64, f64) {
        (self.start.0 + self.step.0 * moved, self.start.1 + self.step.1 * moved)
    }

    /// Whether glyphs with that spacing between them are of one word.
    pub(super) fn is_tight(&self, spacing: f64) -> bool {
        let gap = spacing * self.stretch * self.step_along;
        self.run.as_ref().is_some_and(|run| run.is_tight(gap))
    }
}
