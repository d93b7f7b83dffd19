//! The graphics state, as far as text needs it.

use std::rc::Rc;

use super::font::Font;
use super::matrix::Matrix;

/// What `q` saves and `Q` restores.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) ctm: Matrix,
    pub(super) font: Option<Rc<Font>>,
    pub(super) size: f64,
    pub(super) char_space: f64,
    pub(super) word_space: f64,
    /// Horizontal scaling, 1 for 100 %.
    pub(super) stretch: f64,
    pub(super) leading: f64,
    pub(super) rise: f64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            ctm: Matrix::IDENTITY,
            font: None,
            size: 0.0,
            char_space: 0.0,
            word_space: 0.0,
            stretch: 1.0,
            leading: 0.0,
            rise: 0.0,
        }
    }
}

/// The text matrix and the matrix of the line's start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text {
    pub(super) matrix: Matrix,
    line: Matrix,
}

impl Default for Text {
    fn default() -> Self {
        Self { matrix: Matrix::IDENTITY, line: Matrix::IDENTITY }
    }
}

impl Text {
    pub(super) fn begin(&mut self) {
        *self = Self::default();
    }

    pub(super) fn set(&mut self, matrix: Matrix) {
        (self.matrix, self.line) = (matrix, matrix);
    }

    pub(super) fn advance_line(&mut self, x: f64, y: f64) {
        self.set(Matrix::translation(x, y).then(&self.line));
    }

    /// Moves the position by a distance of text space.
    pub(super) fn move_by(&mut self, x: f64, y: f64) {
        (self.matrix.e, self.matrix.f) = self.matrix.apply(x, y);
    }
}
