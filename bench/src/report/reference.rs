//! A second server that was measured in turns with ours, cell by cell.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;

use super::chart::{self, Bar};
use super::data::{self, short};
use super::{Plot, page};
use crate::job::Job;
use crate::results::Dir;
use crate::results::table::{self, Row};

/// A cell of both.
pub(super) struct Pair {
    ours: Row,
    theirs: Row,
}

/// How many times the reference's throughput ours is, over all cells of a job.
struct JobRatio {
    job: Job,
    cells: usize,
    mean: f64,
    least: f64,
    most: f64,
}

impl Pair {
    fn throughput(&self) -> f64 {
        self.ours.closed_per_s / self.theirs.closed_per_s
    }

    fn latency(&self) -> Option<f64> {
        let (ours, theirs) = (self.ours.p50_ms, self.theirs.p50_ms);
        (ours > 0.0 && theirs > 0.0).then(|| ours / theirs)
    }
}

/// The cells that both have answered in; none without a reference.
pub(super) fn pairs(dir: &Dir, ours: &[Row]) -> io::Result<Vec<Pair>> {
    let theirs = Dir::open(&dir.reference()).cells();
    if !theirs.exists() {
        return Ok(Vec::new());
    }
    let mut theirs: BTreeMap<String, Row> = data::medians(table::read(&theirs)?)
        .into_iter()
        .map(|row| (row.cell.clone(), row))
        .collect();
    let pair = |ours: &Row| {
        let theirs = theirs.remove(&ours.cell)?;
        let both = ours.closed_per_s > 0.0 && theirs.closed_per_s > 0.0;
        both.then(|| Pair { ours: ours.clone(), theirs })
    };
    Ok(ours.iter().filter_map(pair).collect())
}

fn by_job(pairs: &[Pair]) -> Vec<JobRatio> {
    let of = |job: Job| {
        let ratios: Vec<f64> =
            pairs.iter().filter(|pair| pair.ours.job == job.name()).map(Pair::throughput).collect();
        let logs: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
        (!ratios.is_empty()).then(|| JobRatio {
            job,
            cells: ratios.len(),
            mean: (logs / ratios.len() as f64).exp(),
            least: ratios.iter().copied().fold(f64::INFINITY, f64::min),
            most: ratios.iter().copied().fold(0.0, f64::max),
        })
    };
    Job::all().filter_map(of).collect()
}

/// Bars of the ratio, a job each.
pub(super) fn plot(pairs: &[Pair], reference: &str) -> io::Result<Option<Plot>> {
    let ratios = by_job(pairs);
    if ratios.is_empty() {
        return Ok(None);
    }
    let bars: Vec<_> = ratios
        .iter()
        .map(|ratio| Bar {
            name: ratio.job.name(),
            parts: [ratio.mean, 0.0],
            label: format!(
                "{} ({} to {} in {} cells)",
                short(ratio.mean),
                short(ratio.least),
                short(ratio.most),
                ratio.cells
            ),
        })
        .collect();
    let svg =
        chart::bars("times the reference's throughput", &["geometric mean over cells"], &bars)?;
    let about = format!(
        "Requests a second of the closed loop, ours over those of {reference}, measured in turns, cell by \
         cell, by the same generator in the same version of the protocol."
    );
    let title = "Beside the reference".to_owned();
    Ok(Some(Plot { name: "reference", title, about, svg }))
}

/// Every cell of both.
pub(super) fn table(html: &mut String, pairs: &[Pair]) {
    if pairs.is_empty() {
        return;
    }
    let _ = writeln!(
        html,
        "<details><summary>All {} cells beside the reference</summary>\n<p class=\"dim\">A ratio of \
         throughput above 1 is ours to be faster, one of latency below 1. Failed requests are in neither.\
         </p><div class=\"scroll\"><table><tr><th>cell</th><th>ours/s</th><th>theirs/s</th>\
         <th>ratio</th><th>our p50 ms</th><th>their p50 ms</th><th>ratio</th><th>our failures</th>\
         <th>their failures</th></tr>",
        pairs.len()
    );
    for pair in pairs {
        let Pair { ours, theirs } = pair;
        let _ = writeln!(
            html,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{}</td><td>{}</td></tr>",
            page::escape(&ours.cell),
            short(ours.closed_per_s),
            short(theirs.closed_per_s),
            short(pair.throughput()),
            page::dash(ours.p50_ms),
            page::dash(theirs.p50_ms),
            pair.latency().map_or("-".to_owned(), short),
            page::escape(&ours.failure_kinds),
            page::escape(&theirs.failure_kinds),
        );
    }
    html.push_str("</table></div>\n</details>\n");
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn row(cell: &str, per_s: f64, p50_ms: f64) -> Row {
        let (job, cell) = ("upload".to_owned(), cell.to_owned());
        Row { cell, job, closed_per_s: per_s, p50_ms, ..Row::default() }
    }

    #[test]
    fn cells_of_both_are_held_against_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Dir::open(dir.path());
        let ours = [row("a", 80.0, 1.0), row("b", 20.0, 3.0), row("c", 5.0, 1.0)];
        assert!(pairs(&dir, &ours).unwrap().is_empty(), "no reference");
        let reference = Dir::create(&dir.reference()).unwrap();
        for row in [row("a", 10.0, 2.0), row("b", 10.0, 1.0), row("c", 0.0, 0.0)] {
            table::append(&reference.cells(), &row).unwrap();
        }
        let pairs = pairs(&dir, &ours).unwrap();
        // The reference has not answered in the third.
        assert_eq!(pairs.len(), 2);
        let ratio = &by_job(&pairs)[0];
        // The geometric mean of 8 and 2.
        assert!((ratio.mean - 4.0).abs() < 1e-9 && (ratio.least - 2.0).abs() < 1e-9);
        let svg = plot(&pairs, "host:5000").unwrap().unwrap().svg;
        assert!(svg.contains("4.00 (2.00 to 8.00 in 2 cells)"), "{svg}");
        let mut html = String::new();
        table(&mut html, &pairs);
        assert!(html.contains("<td>8.00</td>") && html.contains("<td>0.500</td>"), "{html}");
    }
}
