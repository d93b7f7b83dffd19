//! Pictures.

use super::Motif;
use crate::rng::Rng;

const CHANNELS: usize = 3;

/// Distances of the lattices of light, in pixels, and how much each weighs. Large shapes weigh most,
/// as in photographs, whose spectrum falls with the frequency.
const OCTAVES: [(usize, f32); 5] = [(257, 70.0), (97, 35.0), (31, 18.0), (11, 9.0), (5, 4.0)];

/// Lattice of the colours, which change slower than the light.
const COLOUR_STEP: usize = 181;
const COLOUR_WEIGHT: f32 = 45.0;

/// Grain of a sensor, plus and minus.
const GRAIN: f32 = 4.0;

/// Areas of one colour.
const TILE: usize = 64;

/// Sides of a picture of about `pixels`, in the 3:2 of a photograph.
pub(super) fn sides(pixels: usize) -> (usize, usize) {
    let height = (pixels * 2 / 3).isqrt().max(1);
    ((pixels / height).max(1), height)
}

/// A PNG of random content of the motif, in RGB.
pub(super) fn png(
    motif: Motif,
    width: usize,
    height: usize,
    seed: u64,
) -> Result<Vec<u8>, png::EncodingError> {
    let pixels = match motif {
        Motif::Photo => photo(width, height, seed),
        Motif::Noise => noise(width, height, seed),
        Motif::Flat => flat(width, height, seed),
    };
    let mut file = Vec::new();
    // Sides come from a number of pixels that is at most the server's limit.
    let side = |side| u32::try_from(side).unwrap_or(u32::MAX);
    let mut encoder = png::Encoder::new(&mut file, side(width), side(height));
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    encoder.write_header()?.write_image_data(&pixels)?;
    Ok(file)
}

fn noise(width: usize, height: usize, seed: u64) -> Vec<u8> {
    let mut pixels = vec![0; width * height * CHANNELS];
    Rng::new(seed).fill(&mut pixels);
    pixels
}

fn flat(width: usize, height: usize, seed: u64) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let across = width.div_ceil(TILE);
    let mut colours = vec![[0_u8; CHANNELS]; across * height.div_ceil(TILE)];
    for colour in &mut colours {
        rng.fill(colour);
    }
    (0..width * height)
        .flat_map(|at| colours[at / width / TILE * across + at % width / TILE])
        .collect()
}

fn photo(width: usize, height: usize, seed: u64) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let mut lights: Vec<_> = OCTAVES
        .iter()
        .map(|&(step, weight)| (Lattice::new(width, height, step, &mut rng), weight))
        .collect();
    let mut colours: [Lattice; CHANNELS] =
        std::array::from_fn(|_| Lattice::new(width, height, COLOUR_STEP, &mut rng));
    let mut pixels = Vec::with_capacity(width * height * CHANNELS);
    let mut row = vec![0.0_f32; width];
    let mut hues = vec![[0.0_f32; CHANNELS]; width];
    for y in 0..height {
        row.fill(128.0);
        for (lattice, weight) in &mut lights {
            lattice.add_row(y, *weight, row.iter_mut());
        }
        hues.fill([0.0; CHANNELS]);
        for (channel, lattice) in colours.iter_mut().enumerate() {
            lattice.add_row(y, COLOUR_WEIGHT, hues.iter_mut().map(|hue| &mut hue[channel]));
        }
        for (light, hue) in row.iter().zip(&hues) {
            let bits = rng.next_u64();
            for (channel, colour) in hue.iter().enumerate() {
                // 16 bits of noise for each channel, as -1..1.
                let grain = (bits >> (16 * channel) & 0xffff) as f32 / 32_768.0 - 1.0;
                let value = light + colour + grain * GRAIN;
                // Clamped to a byte just before.
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                pixels.push(value.clamp(0.0, 255.0) as u8);
            }
        }
    }
    pixels
}

/// Random values in -1..1 on a grid, interpolated between its points.
struct Lattice {
    step: usize,
    across: usize,
    points: Vec<f32>,
    /// The grid's values on one row of pixels.
    row: Vec<f32>,
}

impl Lattice {
    fn new(width: usize, height: usize, step: usize, rng: &mut Rng) -> Self {
        let across = width / step + 2;
        let count = across * (height / step + 2);
        // Single precision is more than a byte of light needs.
        #[allow(clippy::cast_possible_truncation)]
        let points = (0..count).map(|_| (rng.unit() * 2.0 - 1.0) as f32).collect();
        Self { step, across, points, row: vec![0.0; across] }
    }

    fn add_row<'a>(&mut self, y: usize, weight: f32, out: impl Iterator<Item = &'a mut f32>) {
        let (above, part) =
            (y / self.step * self.across, (y % self.step) as f32 / self.step as f32);
        for (at, value) in self.row.iter_mut().enumerate() {
            let (top, bottom) = (self.points[above + at], self.points[above + self.across + at]);
            *value = (top + (bottom - top) * part) * weight;
        }
        let (mut cell, mut within) = (0, 0);
        for value in out {
            let (left, right) = (self.row[cell], self.row[cell + 1]);
            *value += left + (right - left) * (within as f32 / self.step as f32);
            within += 1;
            if within == self.step {
                (cell, within) = (cell + 1, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_have_the_pixels_and_the_shape() {
        for pixels in [1, 2, 600, 1_000_000, 24_000_000] {
            let (width, height) = sides(pixels);
            assert!(width * height <= pixels && width * height * 100 >= pixels * 50);
        }
        assert_eq!(sides(6_000_000), (3_000, 2_000));
    }

    #[test]
    fn a_photo_is_neither_clipped_nor_grey() {
        let pixels = photo(300, 200, 1);
        assert_eq!(pixels.len(), 300 * 200 * CHANNELS);
        let clipped = pixels.iter().filter(|&&value| value == 0 || value == 255).count();
        assert!(clipped * 20 < pixels.len(), "{clipped}");
        let coloured = pixels.chunks(CHANNELS).filter(|rgb| rgb[0].abs_diff(rgb[2]) > 16).count();
        assert!(coloured * 10 > pixels.len() / CHANNELS, "{coloured}");
    }
}
