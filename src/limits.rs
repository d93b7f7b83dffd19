//! Every limit of the program in one place, each with its arithmetic.

const MIB: u64 = 1024 * 1024;

/// What one conversion may cost. Checked from headers before memory is taken, or as it accrues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvertLimits {
    /// Pixels of one picture, width times height. 100 Mpx is 10,000 x 10,000: 400 MB as RGBA.
    pub pixels_max: u64,
    /// Bytes of one picture's side data after decompression: ICC, EXIF, text chunks, each.
    pub metadata_bytes_max: u64,
    /// Scans of one progressive JPEG. Real files have about 10; each costs a pass over the picture.
    pub scans_max: u32,
    /// Pages of a document that is read or written.
    pub pages_max: u32,
    /// Objects of one PDF. A real page has about 10, so 1,000,000 covers 100,000 pages.
    pub objects_max: u32,
    /// Nesting of PDF objects, form XObjects and page trees.
    pub nesting_max: u32,
    /// Bytes of one PDF stream after decompression.
    pub stream_bytes_max: u64,
    /// Bytes of all PDF streams of one document after decompression.
    pub streams_total_bytes_max: u64,
    /// Bytes of the result.
    pub output_bytes_max: u64,
}

impl Default for ConvertLimits {
    fn default() -> Self {
        Self {
            pixels_max: 100_000_000,
            metadata_bytes_max: 8 * MIB,
            scans_max: 500,
            pages_max: 100_000,
            objects_max: 1_000_000,
            nesting_max: 64,
            stream_bytes_max: 256 * MIB,
            streams_total_bytes_max: 1024 * MIB,
            output_bytes_max: 1024 * MIB,
        }
    }
}
