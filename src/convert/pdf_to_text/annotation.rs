//! What an annotation shows: its normal appearance, fitted into its rectangle; or, of a form's field that has
//! none, its value.

use lopdf::Dictionary;

use super::file::{File, Node};
use super::marked::text_string;
use super::matrix::Matrix;

/// Fields above fields; real forms have two or three.
const PARENTS_MAX: usize = 16;
/// The largest size that readers choose for the text of a field, and the share of its height.
const FIELD_SIZE_MAX: f64 = 12.0;
const FIELD_SIZE: f64 = 0.7;
const LEADING: f64 = 1.2;

/// The value of a field of text or of a choice.
pub(super) struct Value {
    text: String,
    left: f64,
    top: f64,
    pub(super) size: f64,
}

impl Value {
    /// Its lines with the places where they begin.
    pub(super) fn lines(&self) -> impl Iterator<Item = ((f64, f64), &str)> {
        let lines = self.text.split(['\r', '\n']).filter(|line| !line.trim().is_empty());
        (1..).zip(lines).map(|(number, line)| {
            ((self.left, self.top - f64::from(number) * LEADING * self.size), line.trim())
        })
    }
}

/// What the field that `dict` is a widget of holds.
pub(super) fn value(file: &File<'_>, dict: &Dictionary) -> Option<Value> {
    let inherited = |key: &[u8]| {
        let mut field = Some(dict);
        for _ in 0..PARENTS_MAX {
            if let Some(object) = file.entry(field?, key) {
                return Some(object);
            }
            field = file.dict(field?, b"Parent");
        }
        None
    };
    if !matches!(inherited(b"FT")?.as_name(), Ok(b"Tx" | b"Ch")) {
        return None;
    }
    let text = text_string(inherited(b"V")?.as_str().ok()?);
    let [(left, _), (bottom, top)] = corners(&file.numbers(dict, b"Rect")?)?;
    Some(Value { text, left, top, size: (FIELD_SIZE * (top - bottom)).min(FIELD_SIZE_MAX) })
}

/// The form that an annotation draws and the matrix from the form's space to the page's.
pub(super) fn appearance<'f>(
    file: &'f File<'_>,
    dict: &'f Dictionary,
) -> Option<(&'f Node, Matrix)> {
    let normal = file.dict(dict, b"AP")?.get(b"N").ok()?;
    let node = file.stream(normal).or_else(|| {
        // One appearance for each state; the annotation names its own.
        let states = file.resolve(normal).as_dict().ok()?;
        file.stream(states.get(file.name(dict, b"AS")?).ok()?)
    })?;
    let form = node.dict()?;
    let rectangle = corners(&file.numbers(dict, b"Rect")?)?;
    let values = file.numbers(form, b"Matrix");
    let matrix = values.and_then(|values| Matrix::from_slice(&values)).unwrap_or(Matrix::IDENTITY);
    let bounds = corners(&file.numbers(form, b"BBox")?)?;
    let shown = transformed(bounds, &matrix);
    let scale = |to: (f64, f64), from: (f64, f64)| {
        if from.1 > from.0 { (to.1 - to.0) / (from.1 - from.0) } else { 1.0 }
    };
    let [x, y] = [0, 1].map(|axis| scale(rectangle[axis], shown[axis]));
    let fit = Matrix {
        a: x,
        b: 0.0,
        c: 0.0,
        d: y,
        e: rectangle[0].0 - shown[0].0 * x,
        f: rectangle[1].0 - shown[1].0 * y,
    };
    Some((node, matrix.then(&fit)))
}

/// Lowest and highest x, lowest and highest y.
type Bounds = [(f64, f64); 2];

fn corners(values: &[f64]) -> Option<Bounds> {
    match *values {
        [x0, y0, x1, y1, ..] => Some([(x0.min(x1), x0.max(x1)), (y0.min(y1), y0.max(y1))]),
        _ => None,
    }
}

fn transformed([x, y]: Bounds, matrix: &Matrix) -> Bounds {
    let all = [(x.0, y.0), (x.0, y.1), (x.1, y.0), (x.1, y.1)].map(|(x, y)| matrix.apply(x, y));
    let range = |values: [f64; 4]| {
        (
            values.iter().copied().fold(f64::INFINITY, f64::min),
            values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        )
    };
    [range(all.map(|point| point.0)), range(all.map(|point| point.1))]
}
