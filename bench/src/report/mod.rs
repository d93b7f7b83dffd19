//! The report: one page that needs nothing beside itself, and its plots as files.
//!
//! Owns: what is drawn and said of the rows of a run. Must never measure, or show a number that the
//! rows and logs do not have.

mod chart;
mod data;
mod page;
mod reference;

use std::fs;
use std::io;

use crate::job::Job;
use crate::results::Dir;
use crate::results::hdr;
use crate::results::record::Record;
use crate::results::table::{self, Row};
use crate::sweep::OPEN_TAG;
use chart::{Bar, Heat, Lines, Series};
use data::{Axis, Centre};

/// Quantiles of the latency plot: 20 steps for each nine.
const STEPS_PER_NINE: u32 = 20;
const NINES_MAX: u32 = 5;

/// A plot of the page.
struct Plot {
    name: &'static str,
    title: String,
    about: String,
    svg: String,
}

/// Lines over categories, as a file of its own.
///
/// # Errors
///
/// They cannot be drawn.
pub fn lines_by_category(
    x_title: &str,
    x_labels: &[String],
    y_title: &str,
    series: &[(&str, Vec<f64>)],
) -> io::Result<String> {
    let points = |values: &[f64]| values.iter().enumerate().map(|(x, y)| (x as f64, *y)).collect();
    let series = series.iter().enumerate().map(|(at, (name, values))| Series {
        name,
        colour: chart::nth_colour(at),
        points: points(values),
    });
    let series = series.collect();
    let x_labels = x_labels.to_vec();
    let svg = chart::lines(&Lines { x_title, x_labels, y_title, series, markers: true })?;
    Ok(chart::standalone(&svg))
}

/// Writes the page and the plots of a directory of results.
///
/// # Errors
///
/// Its files cannot be read or written, or a plot cannot be drawn.
pub fn render(dir: &Dir) -> io::Result<()> {
    let record = Record::load(&dir.record())?;
    let rows = data::medians(table::read(&dir.cells())?);
    let centre = Centre::of(&rows);
    let pairs = reference::pairs(dir, &rows)?;
    let mut plots = Vec::new();
    plots.extend(reference::plot(&pairs, &record.reference)?);
    for axis in [Axis::Size, Axis::Chunk, Axis::Connections] {
        plots.extend(throughput(&rows, axis, &centre)?);
    }
    plots.extend(latency(dir, &rows, &centre)?);
    plots.extend(heat(&rows, &centre)?);
    plots.extend(cpu(&rows, &centre)?);
    plots.extend(shares(&rows, &centre)?);
    for plot in &plots {
        fs::write(dir.plot(plot.name), chart::standalone(&plot.svg))?;
    }
    fs::write(dir.report(), page::page(&record, &rows, &centre, &plots, &pairs))
}

/// The original's three graphs: MB/s by one axis, a line for each job.
fn throughput(rows: &[Row], axis: Axis, centre: &Centre) -> io::Result<Option<Plot>> {
    let mut values: Vec<u64> = Vec::new();
    let mut found: Vec<(&str, Vec<&Row>)> = Vec::new();
    for job in Job::all().filter(|job| job.has_body()) {
        let along: Vec<_> = data::along(rows, axis, centre, job.name())
            .into_iter()
            .filter(|row| row.closed_per_s > 0.0)
            .collect();
        if along.len() > 1 {
            values.extend(along.iter().map(|row| axis.of(row)));
            found.push((job.name(), along));
        }
    }
    values.sort_unstable();
    values.dedup();
    if found.is_empty() {
        return Ok(None);
    }
    let at = |row: &Row| values.binary_search(&axis.of(row)).unwrap_or(0) as f64;
    let series = found
        .iter()
        .map(|(name, rows)| Series {
            name,
            colour: chart::colour(name),
            points: rows.iter().map(|row| (at(row), file_mb_per_s(row))).collect(),
        })
        .collect();
    let (name, title) = match axis {
        Axis::Size => ("throughput-by-size", "Throughput by file size"),
        Axis::Chunk => ("throughput-by-chunk", "Throughput by chunk size"),
        Axis::Connections => ("throughput-by-connections", "Throughput by connections"),
    };
    let svg = chart::lines(&Lines {
        x_title: axis.title(),
        x_labels: values.iter().map(|value| axis.show(*value)).collect(),
        y_title: "MB of files a second",
        series,
        markers: true,
    })?;
    let about = format!(
        "Closed loop: every connection sends as fast as it is answered. {}.",
        centre.without(axis)
    );
    Ok(Some(Plot { name, title: title.to_owned(), about, svg }))
}

/// MB of the files that requests are about, whichever way they go.
fn file_mb_per_s(row: &Row) -> f64 {
    row.body_bytes as f64 * row.closed_per_s / 1e6
}

fn latency(dir: &Dir, rows: &[Row], centre: &Centre) -> io::Result<Option<Plot>> {
    let mut series = Vec::new();
    for row in data::at_centre(rows, centre) {
        let merged = hdr::merged(&hdr::read(&dir.log(&row.cell))?, OPEN_TAG)?;
        if merged.is_empty() {
            continue;
        }
        let (mut points, count) = (Vec::new(), merged.len() as f64);
        for step in 0..=NINES_MAX * STEPS_PER_NINE {
            let nines = f64::from(step) / f64::from(STEPS_PER_NINE);
            // Beyond one request in so many there is only the maximum.
            if nines > count.log10() {
                break;
            }
            let quantile = 1.0 - 10_f64.powf(-nines);
            points.push((nines, merged.value_at_quantile(quantile) as f64 / 1e6));
        }
        if points.len() > 1 {
            series.push(Series { name: &row.job, colour: chart::colour(&row.job), points });
        }
    }
    if series.is_empty() {
        return Ok(None);
    }
    let labels = ["0", "90", "99", "99.9", "99.99", "99.999"].map(|label| format!("{label} %"));
    let svg = chart::lines(&Lines {
        x_title: "percentile",
        x_labels: labels.to_vec(),
        y_title: "latency in ms",
        series,
        markers: false,
    })?;
    let about = format!(
        "Open loop at the plan's share of the capacity, from the scheduled instant to the last byte \
         of the answer. A line ends where its requests do. {}.",
        centre.all()
    );
    Ok(Some(Plot { name: "latency", title: "Latency by percentile".to_owned(), about, svg }))
}

/// The tunnel alone, by chunk and connections.
fn heat(rows: &[Row], centre: &Centre) -> io::Result<Option<Plot>> {
    let cells: Vec<_> = rows
        .iter()
        .filter(|row| row.job == "upload" && row.reuse == centre.reuse)
        .filter(|row| row.size_bytes == centre.heat_size(rows))
        .collect();
    let values = |axis: Axis| {
        let mut values: Vec<_> = cells.iter().map(|row| axis.of(row)).collect();
        values.sort_unstable();
        values.dedup();
        values
    };
    let (across, down) = (values(Axis::Connections), values(Axis::Chunk));
    if across.len() < 2 || down.len() < 2 {
        return Ok(None);
    }
    let cell = |chunk: u64, connections: u64| {
        let found =
            cells.iter().find(|row| row.chunk_bytes == chunk && row.connections == connections)?;
        Some(found.closed_up_mb_per_s)
    };
    let svg = chart::heat(&Heat {
        x_title: Axis::Connections.title(),
        x_labels: across.iter().map(|value| Axis::Connections.show(*value)).collect(),
        y_title: Axis::Chunk.title(),
        y_labels: down.iter().map(|value| Axis::Chunk.show(*value)).collect(),
        cells: down
            .iter()
            .map(|&chunk| across.iter().map(|&connections| cell(chunk, connections)).collect())
            .collect(),
    })?;
    let about = format!(
        "MB/s of upload, which is the way up without a conversion: TLS, both tiers, the checksum. \
         Files of {}, closed loop.",
        Axis::Size.show(centre.heat_size(rows))
    );
    Ok(Some(Plot { name: "heat", title: "Upload by chunk and connections".to_owned(), about, svg }))
}

fn cpu(rows: &[Row], centre: &Centre) -> io::Result<Option<Plot>> {
    let bars: Vec<_> = data::at_centre(rows, centre)
        .filter(|row| row.server_cpu_s_per_gb > 0.0 && row.body_bytes > 0)
        .map(|row| {
            let gb = row.server_cpu_s_per_gb;
            let all = row.master_cpu_s + row.worker_cpu_s;
            let master = gb * row.master_cpu_s / all.max(1e-9);
            Bar { name: &row.job, parts: [master, gb - master], label: data::short(gb) }
        })
        .collect();
    if bars.is_empty() {
        return Ok(None);
    }
    let is_store = rows.iter().all(|row| row.wire.starts_with("store"));
    let parts: &[&str] = if is_store { &["store"] } else { &["master", "worker"] };
    let svg = chart::bars("CPU seconds for a GB of files, both ways", parts, &bars)?;
    let about = format!("Master and worker together, closed loop. {}.", centre.all());
    Ok(Some(Plot { name: "cpu", title: "What the servers cost".to_owned(), about, svg }))
}

fn shares(rows: &[Row], centre: &Centre) -> io::Result<Option<Plot>> {
    let bars: Vec<_> = data::at_centre(rows, centre)
        .filter(|row| row.convert_mean_ms > 0.0)
        .map(|row| {
            let parts = [row.transport_mean_ms, row.convert_mean_ms];
            Bar { name: &row.job, parts, label: data::short(parts[0] + parts[1]) }
        })
        .collect();
    if bars.is_empty() {
        return Ok(None);
    }
    let svg = chart::bars("mean ms of a request", &["transport and waiting", "converting"], &bars)?;
    let about = format!(
        "What the worker says that it converted, against all the rest of the request: transport, \
         checksums, and waiting for a slot. Closed loop. {}.",
        centre.all()
    );
    Ok(Some(Plot { name: "shares", title: "Where the time goes".to_owned(), about, svg }))
}
