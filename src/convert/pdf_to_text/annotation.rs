//! What an annotation shows: its normal appearance, fitted into its rectangle.

use lopdf::Dictionary;

use super::file::{File, Node};
use super::matrix::Matrix;

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
