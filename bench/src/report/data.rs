//! What is drawn, out of the rows.

use std::collections::BTreeMap;

use crate::results::table::Row;

/// An axis of the sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Axis {
    Size,
    Chunk,
    Connections,
}

impl Axis {
    pub(super) fn of(self, row: &Row) -> u64 {
        match self {
            Self::Size => row.size_bytes,
            Self::Chunk => row.chunk_bytes,
            Self::Connections => row.connections,
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Size => "file size",
            Self::Chunk => "chunk size",
            Self::Connections => "connections",
        }
    }

    pub(super) fn show(self, value: u64) -> String {
        match self {
            Self::Size if value >= 1_000_000 => format!("{} MB", value / 1_000_000),
            Self::Size => format!("{} kB", value / 1_000),
            Self::Chunk if value >= 1 << 20 => format!("{} MiB", value >> 20),
            Self::Chunk => format!("{} KiB", value >> 10),
            Self::Connections => value.to_string(),
        }
    }
}

/// The point that the axes cross: on each axis the value that most cells have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Centre {
    pub(super) size: u64,
    pub(super) chunk: u64,
    pub(super) connections: u64,
    pub(super) reuse: String,
}

impl Centre {
    pub(super) fn of(rows: &[Row]) -> Self {
        // Conversions: the grid of the tunnel has its own balance.
        let has_conversions = rows.iter().any(|row| row.job.contains('-'));
        let counted =
            |row: &&Row| row.body_bytes > 0 && (!has_conversions || row.job.contains('-'));
        let mode = |axis: Axis| {
            let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
            for row in rows.iter().filter(counted) {
                *counts.entry(axis.of(row)).or_default() += 1;
            }
            counts.into_iter().max_by_key(|(_, count)| *count).map_or(0, |(value, _)| value)
        };
        let reuse = if rows.iter().any(|row| row.reuse == "kept") { "kept" } else { "new" };
        Self {
            size: mode(Axis::Size),
            chunk: mode(Axis::Chunk),
            connections: mode(Axis::Connections),
            reuse: reuse.to_owned(),
        }
    }

    /// Whether `row` lies on the line along `axis`. A request without a body has no size or chunk.
    fn is_on(&self, row: &Row, axis: Option<Axis>) -> bool {
        let fits = |other: Axis, value: u64| {
            axis == Some(other)
                || other.of(row) == value
                || row.body_bytes == 0 && other != Axis::Connections
        };
        row.reuse == self.reuse
            && fits(Axis::Size, self.size)
            && fits(Axis::Chunk, self.chunk)
            && fits(Axis::Connections, self.connections)
    }

    /// The size of the heat map: that of the centre where the map is whole there, else the one that
    /// most cells of upload have.
    pub(super) fn heat_size(&self, rows: &[Row]) -> u64 {
        let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.job == "upload" && row.reuse == self.reuse) {
            *counts.entry(row.size_bytes).or_default() += 1;
        }
        let most = counts.values().copied().max().unwrap_or(0);
        if counts.get(&self.size) == Some(&most) {
            return self.size;
        }
        counts.into_iter().find(|(_, count)| *count == most).map_or(0, |(size, _)| size)
    }

    pub(super) fn all(&self) -> String {
        self.words(None)
    }

    pub(super) fn without(&self, axis: Axis) -> String {
        self.words(Some(axis))
    }

    fn words(&self, without: Option<Axis>) -> String {
        let mut words = Vec::new();
        if without != Some(Axis::Size) {
            words.push(format!("files of {}", Axis::Size.show(self.size)));
        }
        if without != Some(Axis::Chunk) {
            words.push(format!("chunks of {}", Axis::Chunk.show(self.chunk)));
        }
        if without != Some(Axis::Connections) {
            let plural = if self.connections == 1 { "" } else { "s" };
            words.push(format!("{} connection{plural}", self.connections));
        }
        let mut words = words.join(", ");
        words[..1].make_ascii_uppercase();
        words
    }
}

/// One row for each cell: of its repeats, the one whose capacity is the median.
pub(super) fn medians(rows: Vec<Row>) -> Vec<Row> {
    let mut cells: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for row in rows {
        cells.entry(row.cell.clone()).or_default().push(row);
    }
    cells
        .into_values()
        .map(|mut repeats| {
            repeats.sort_by(|a, b| a.closed_per_s.total_cmp(&b.closed_per_s));
            repeats.swap_remove((repeats.len() - 1) / 2)
        })
        .collect()
}

/// The rows of a job along an axis through the centre, in its order.
pub(super) fn along<'a>(rows: &'a [Row], axis: Axis, centre: &Centre, job: &str) -> Vec<&'a Row> {
    let mut found: Vec<_> =
        rows.iter().filter(|row| row.job == job && centre.is_on(row, Some(axis))).collect();
    found.sort_by_key(|row| axis.of(row));
    found
}

/// The rows of the centre, in the order of the jobs.
pub(super) fn at_centre<'a>(rows: &'a [Row], centre: &Centre) -> impl Iterator<Item = &'a Row> {
    crate::job::Job::all().filter_map(move |job| {
        rows.iter().find(|row| row.job == job.name() && centre.is_on(row, None))
    })
}

/// Where more connections stop to pay.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Knee {
    /// The connections at which throughput over latency is the highest: Kleinrock's power.
    pub(super) connections: u64,
    /// The fewest that reach 95 % of the best throughput.
    pub(super) saturation: u64,
    /// That best one, in requests a second.
    pub(super) best_per_s: f64,
}

const SATURATED: f64 = 0.95;

/// The knee of a job's rows by connections; none of fewer than three.
pub(super) fn knee(along: &[&Row]) -> Option<Knee> {
    if along.len() < 3 {
        return None;
    }
    let best_per_s = along.iter().map(|row| row.closed_per_s).fold(0.0, f64::max);
    let power = |row: &Row| row.closed_per_s / row.closed_p50_ms.max(1e-6);
    let knee = along.iter().max_by(|a, b| power(a).total_cmp(&power(b)))?;
    let saturation = along.iter().find(|row| row.closed_per_s >= best_per_s * SATURATED)?;
    Some(Knee { connections: knee.connections, saturation: saturation.connections, best_per_s })
}

/// A number in about three digits.
pub(super) fn short(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value if value >= 1.0 => format!("{value:.2}"),
        value => format!("{value:.3}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn row(job: &str, size: u64, chunk: u64, connections: u64) -> Row {
        Row {
            cell: format!("{job}-{size}-{chunk}-{connections}"),
            job: job.to_owned(),
            size_bytes: size,
            body_bytes: size,
            chunk_bytes: chunk,
            connections,
            reuse: "kept".to_owned(),
            ..Row::default()
        }
    }

    fn cross() -> Vec<Row> {
        let mut rows: Vec<_> = [1, 10, 100].map(|size| row("jpg-png", size, 4, 2)).to_vec();
        rows.extend([8, 16].map(|chunk| row("jpg-png", 10, chunk, 2)));
        rows.extend([1, 4].map(|connections| row("jpg-png", 10, 4, connections)));
        rows
    }

    #[test]
    fn the_centre_is_where_the_axes_cross() {
        let rows = cross();
        let centre = Centre::of(&rows);
        assert_eq!((centre.size, centre.chunk, centre.connections), (10, 4, 2));
        let values = |axis: Axis| {
            let along = along(&rows, axis, &centre, "jpg-png");
            along.iter().map(|row| axis.of(row)).collect::<Vec<_>>()
        };
        assert_eq!(values(Axis::Size), [1, 10, 100]);
        assert_eq!(values(Axis::Chunk), [4, 8, 16]);
        assert_eq!(values(Axis::Connections), [1, 2, 4]);
        assert_eq!(at_centre(&rows, &centre).count(), 1);
    }

    #[test]
    fn repeats_become_the_one_of_the_median_capacity() {
        let with = |capacity| Row { closed_per_s: capacity, ..row("upload", 1, 1, 1) };
        let found = medians(vec![with(30.0), with(10.0), with(20.0)]);
        assert_eq!(found.len(), 1);
        assert!((found[0].closed_per_s - 20.0).abs() < 1e-9);
    }

    #[test]
    fn the_knee_lies_before_latency_takes_over() {
        // Two cores: twice the throughput at two connections, and waiting from there on.
        let rows: Vec<_> = [(1, 100.0, 10.0), (2, 198.0, 10.1), (4, 200.0, 20.0), (8, 201.0, 40.0)]
            .map(|(connections, per_s, p50)| Row {
                closed_per_s: per_s,
                closed_p50_ms: p50,
                ..row("upload", 1, 1, connections)
            })
            .to_vec();
        let found = knee(&rows.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!((found.connections, found.saturation), (2, 2));
        assert_eq!(knee(&rows[..2].iter().collect::<Vec<_>>()), None);
    }
}
