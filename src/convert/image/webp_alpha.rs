//! The alpha of a lossy WEBP: samples that are predicted from their neighbours, and packed without loss
//! (WebP Container Specification, "Alpha").
//!
//! libwebp finds the prediction by packing with one after another. Here a look at some rows tells which one may be worth
//! it, some are packed with it and without any, and the plane is packed once, by a coder of our own (`webp_plane.rs`).

use super::frame::{Channels, Frame, no_memory};
use super::sink::Sink;
use super::webp_plane;
use crate::convert::Error;
use crate::limits::ConvertLimits;

/// So few values are packed several to a byte (`webp_plane.rs`), where a prediction would only make more of them.
const VALUES_FEW: usize = 16;

/// Rows that are looked at, at most so many and evenly over the picture.
const LOOK_ROWS: usize = 64;

/// What a prediction must save of all bits to be tried: packing finds repetitions better where nothing was predicted.
const GAIN_MIN: f64 = 0.1;

/// What is packed to try it: at most so many bands of so many rows. Shapes repeat from row to row.
const BANDS: usize = 4;
const BAND_ROWS: usize = 32;

/// The samples are packed as VP8L is.
const COMPRESSED: u8 = 1;

/// How a sample is predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prediction {
    None = 0,
    Left = 1,
    Above = 2,
    /// Left and above, less what is between them.
    Gradient = 3,
}

const PREDICTIONS: [Prediction; 4] =
    [Prediction::None, Prediction::Left, Prediction::Above, Prediction::Gradient];

/// The body of the chunk for a frame; `None` where all of it is opaque.
pub(super) fn chunk(frame: &Frame, limits: &ConvertLimits) -> Result<Option<Vec<u8>>, Error> {
    if frame.channels != Channels::Rgba {
        return Ok(None);
    }
    let pixels = frame.pixels.as_chunks::<4>().0;
    if pixels.iter().all(|pixel| pixel[3] == u8::MAX) {
        return Ok(None);
    }
    let mut plane = Vec::new();
    plane.try_reserve_exact(pixels.len()).map_err(|_| no_memory(pixels.len() as u64))?;
    plane.extend(pixels.iter().map(|pixel| pixel[3]));
    let width = frame.width as usize;
    let prediction = choose(&plane, width, limits)?;
    predict(&mut plane, width, prediction);
    let mut sink = Sink::new(plane.len() / 16, limits);
    sink.push(&[(prediction as u8) << 2 | COMPRESSED]);
    webp_plane::encode(plane, width, &mut sink);
    sink.finish("WEBP", Ok::<_, &str>(())).map(Some)
}

/// The prediction that makes the plane smaller, if there is one.
fn choose(plane: &[u8], width: usize, limits: &ConvertLimits) -> Result<Prediction, Error> {
    let promising = least_entropy(plane, width);
    if promising == Prediction::None {
        return Ok(promising);
    }
    let height = plane.len() / width;
    let every = (height / BANDS).max(BAND_ROWS) * width;
    let bands = plane.chunks(every).map(|part| &part[..part.len().min(BAND_ROWS * width)]);
    let sample: Vec<u8> = bands.flatten().copied().collect();
    let packed = |prediction| {
        let mut sample = sample.clone();
        predict(&mut sample, width, prediction);
        let mut sink = Sink::new(0, limits);
        webp_plane::encode(sample, width, &mut sink);
        sink.finish("WEBP", Ok::<_, &str>(())).map(|packed| packed.len())
    };
    let gains = packed(promising)? < packed(Prediction::None)?;
    Ok(if gains { promising } else { Prediction::None })
}

/// The prediction whose errors have the least entropy, where that is worth it.
fn least_entropy(plane: &[u8], width: usize) -> Prediction {
    let mut seen = [false; 256];
    for &sample in plane {
        seen[usize::from(sample)] = true;
    }
    if seen.iter().filter(|seen| **seen).count() <= VALUES_FEW {
        return Prediction::None;
    }
    let every = (plane.len() / width / LOOK_ROWS).max(1);
    let mut counts = [[0_u32; 256]; 4];
    for at in (1..plane.len() / width).step_by(every) {
        let (above, row) = plane[(at - 1) * width..(at + 1) * width].split_at(width);
        for x in 1..width {
            for prediction in PREDICTIONS {
                let guess = guess(prediction, row[x - 1], above[x], above[x - 1]);
                counts[prediction as usize][usize::from(row[x].wrapping_sub(guess))] += 1;
            }
        }
    }
    let [plain, predicted @ ..] = counts.map(|counts| bits(&counts));
    let mut best = (Prediction::None, plain * (1.0 - GAIN_MIN));
    for (prediction, bits) in PREDICTIONS[1..].iter().zip(predicted) {
        if bits < best.1 {
            best = (*prediction, bits);
        }
    }
    best.0
}

/// Bits that an ideal code takes for values that come so often.
fn bits(counts: &[u32; 256]) -> f64 {
    let all = f64::from(counts.iter().sum::<u32>());
    let seen = counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count));
    seen.map(|count| count * (all / count).log2()).sum()
}

/// Puts the error of the prediction in the place of each sample, from the end on: what comes before is
/// needed as it was.
fn predict(plane: &mut [u8], width: usize, prediction: Prediction) {
    if prediction == Prediction::None {
        return;
    }
    for at in (1..plane.len()).rev() {
        // At an edge there is one neighbour alone.
        let guess = match (at % width, at / width) {
            (_, 0) => plane[at - 1],
            (0, _) => plane[at - width],
            _ => guess(prediction, plane[at - 1], plane[at - width], plane[at - width - 1]),
        };
        plane[at] = plane[at].wrapping_sub(guess);
    }
}

fn guess(prediction: Prediction, left: u8, above: u8, between: u8) -> u8 {
    match prediction {
        Prediction::None => 0,
        Prediction::Left => left,
        Prediction::Above => above,
        Prediction::Gradient => {
            let sum = i16::from(left) + i16::from(above) - i16::from(between);
            u8::try_from(sum.clamp(0, 255)).unwrap_or(u8::MAX)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn smooth_alpha_is_predicted_and_shapes_are_not() {
        let plane = |sample: fn(usize, usize) -> usize| -> Vec<u8> {
            let samples = (0..100 * 80).map(|at| sample(at % 100, at / 100).min(255));
            samples.map(|sample| u8::try_from(sample).unwrap_or(u8::MAX)).collect()
        };
        let choose = |plane: &[u8], width| choose(plane, width, &ConvertLimits::default()).unwrap();
        assert_eq!(choose(&plane(|x, y| x * x / 50 + y * y / 80), 100), Prediction::Gradient);
        assert_eq!(choose(&plane(|_, y| y * 3), 100), Prediction::Left);
        assert_eq!(choose(&plane(|x, y| x / 2 + y), 100), Prediction::Above);
        assert_eq!(choose(&plane(|x, y| 255 * usize::from(x * y > 900)), 100), Prediction::None);
        let noise = |x: usize, y: usize| {
            let mixed = (x + 100 * y + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 56
        };
        assert_eq!(choose(&plane(noise), 100), Prediction::None);
        assert_eq!(choose(&[0; 3], 1), Prediction::None);
    }

    #[test]
    fn what_is_chosen_is_not_larger_than_no_prediction() {
        let limits = ConvertLimits::default();
        let width = 400;
        // Discs with soft edges, large and small, as logos and letters have them.
        for (tile, radius, softness) in [(400, 150, 2), (80, 30, 4), (21, 8, 8), (400, 190, 1)] {
            let sample = |at: usize| {
                let (dx, dy) = (at % width % tile, at / width % tile);
                let far = dx.abs_diff(tile / 2).pow(2) + dy.abs_diff(tile / 2).pow(2);
                let inside = usize::pow(radius, 2).saturating_sub(far);
                u8::try_from((inside * softness).min(255)).unwrap()
            };
            let plane: Vec<u8> = (0..width * 400).map(sample).collect();
            let packed = |prediction| {
                let mut plane = plane.clone();
                predict(&mut plane, width, prediction);
                let mut sink = Sink::new(0, &limits);
                webp_plane::encode(plane, width, &mut sink);
                sink.finish("test", Ok::<_, &str>(())).unwrap().len()
            };
            let chosen = choose(&plane, width, &limits).unwrap();
            let (best, unpredicted) = (packed(chosen), packed(Prediction::None));
            assert!(best * 100 <= unpredicted * 105, "{tile}: {best} by {chosen:?}, {unpredicted}");
        }
    }
}
