//! `cells.csv`: a line for each measurement of each cell.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

/// A column's value as text, without a comma or a line break.
trait Field: Sized {
    fn show(&self) -> String;
    fn read(text: &str) -> Option<Self>;
}

impl Field for String {
    fn show(&self) -> String {
        self.replace([',', '\n', '"'], " ")
    }

    fn read(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Field for u64 {
    fn show(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// Six digits after the point: microseconds, where the unit is a second.
impl Field for f64 {
    fn show(&self) -> String {
        let text = format!("{self:.6}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }

    fn read(text: &str) -> Option<Self> {
        text.parse().ok().filter(|value: &f64| value.is_finite())
    }
}

macro_rules! row {
    ($($(#[$doc:meta])* $column:ident: $type:ty,)*) => {
        /// One measurement of one cell.
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct Row {
            $($(#[$doc])* pub $column: $type,)*
        }

        impl Row {
            /// The names of the columns, in order.
            pub const COLUMNS: &[&str] = &[$(stringify!($column)),*];

            fn to_line(&self) -> String {
                [$(self.$column.show()),*].join(",")
            }

            fn parse(line: &str) -> Option<Self> {
                let mut fields = line.split(',');
                let row = Self { $($column: Field::read(fields.next()?)?,)* };
                fields.next().is_none().then_some(row)
            }
        }
    };
}

row! {
    /// The cell's name.
    cell: String,
    /// Which round, from 0.
    repeat: u64,
    /// What was asked for.
    job: String,
    /// The version of the protocol.
    wire: String,
    /// The size that the plan names.
    size_bytes: u64,
    /// The size that the body has.
    body_bytes: u64,
    /// What was written at once.
    chunk_bytes: u64,
    /// Requests in flight at most.
    connections: u64,
    /// What became of connections.
    reuse: String,
    /// Closed loop: requests that were answered.
    closed_requests: u64,
    /// Closed loop: time that they took together.
    closed_seconds: f64,
    /// Closed loop: answers a second, which is the capacity.
    closed_per_s: f64,
    /// Closed loop: MB (10^6 bytes) of bodies sent a second.
    closed_up_mb_per_s: f64,
    /// Closed loop: MB of answers received a second.
    closed_down_mb_per_s: f64,
    /// Closed loop: median. Stalls are hidden from it, and from the next.
    closed_p50_ms: f64,
    /// Closed loop: 99th percentile.
    closed_p99_ms: f64,
    /// Open loop: requests a second that were due.
    offered_per_s: f64,
    /// Open loop: answers a second.
    achieved_per_s: f64,
    /// Open loop: requests that were answered.
    open_requests: u64,
    /// Open loop: percentiles of the time from the scheduled instant to the end of the answer.
    p50_ms: f64,
    /// The 90th.
    p90_ms: f64,
    /// The 99th.
    p99_ms: f64,
    /// The 99.9th.
    p999_ms: f64,
    /// The longest.
    max_ms: f64,
    /// Open loop: median from the sending on, without the waiting for a connection.
    service_p50_ms: f64,
    /// Closed loop: mean of what the server says that it converted; 0 where it does not say.
    convert_mean_ms: f64,
    /// Closed loop: mean of all the rest of a request, waiting for a slot included.
    transport_mean_ms: f64,
    /// Closed loop: CPU seconds of the master.
    master_cpu_s: f64,
    /// Closed loop: CPU seconds of the worker.
    worker_cpu_s: f64,
    /// Closed loop: CPU seconds of master and worker for a GB (10^9 bytes) of bodies, both ways.
    server_cpu_s_per_gb: f64,
    /// Closed loop: CPU microseconds of master and worker for a request.
    server_cpu_us_per_request: f64,
    /// Closed loop: CPU microseconds of the generator for a request.
    generator_cpu_us_per_request: f64,
    /// Closed loop: context switches of the master for a request.
    master_switches_per_request: f64,
    /// Closed loop: context switches of the worker for a request.
    worker_switches_per_request: f64,
    /// System calls of the master for a request, in a load of its own; 0 where not counted.
    master_syscalls_per_request: f64,
    /// System calls of the worker for a request.
    worker_syscalls_per_request: f64,
    /// Allocations of master and worker for a request, in a load of its own; 0 where not counted.
    allocations_per_request: f64,
    /// Bytes that both copied themselves on the way between two sockets, for a byte of body.
    copied_per_byte: f64,
    /// Peak of the master's resident memory over the cell.
    master_rss_peak_mb: f64,
    /// Peak of the worker's.
    worker_rss_peak_mb: f64,
    /// Open loop: 99th percentile of the generator's own lateness.
    lateness_p99_ms: f64,
    /// Closed loop: CPU time of the generator over the time of its threads.
    generator_utilisation: f64,
    /// Both loops: requests that failed.
    failures: u64,
    /// By kind, as in `BUSY=3 timeout=1`.
    failure_kinds: String,
    /// Names of warnings, separated by spaces.
    warnings: String,
}

/// Appends a row; a new file gets its heading first.
///
/// # Errors
///
/// The file cannot be written.
pub fn append(path: &Path, row: &Row) -> io::Result<()> {
    let heading = if path.exists() { String::new() } else { Row::COLUMNS.join(",") + "\n" };
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(format!("{heading}{}\n", row.to_line()).as_bytes())
}

/// Reads all rows. A last line without its end is what a run left that was cut off, and is not
/// taken.
///
/// # Errors
///
/// The file cannot be read, or has other columns.
pub fn read(path: &Path) -> io::Result<Vec<Row>> {
    let text = fs::read_to_string(path)?;
    let broken = |what: String| io::Error::other(format!("{}: {what}", path.display()));
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut lines = whole.lines();
    if lines.next().is_some_and(|heading| heading != Row::COLUMNS.join(",")) {
        return Err(broken("its columns are of another version of the bench".to_owned()));
    }
    lines
        .enumerate()
        .map(|(at, line)| {
            Row::parse(line).ok_or_else(|| broken(format!("line {} is no row", at + 2)))
        })
        .collect()
}

/// Cuts off a last line without its end, so that the next row begins a line of its own.
///
/// # Errors
///
/// The file cannot be read or written.
pub fn cut_to_whole_rows(path: &Path) -> io::Result<()> {
    let text = fs::read(path)?;
    let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    OpenOptions::new().write(true).open(path)?.set_len(whole as u64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn row(repeat: u64) -> Row {
        Row {
            cell: "upload-100kB-64KiB-n4".to_owned(),
            repeat,
            p50_ms: 1.25,
            failure_kinds: "BUSY=3 timeout=1".to_owned(),
            ..Row::default()
        }
    }

    #[test]
    fn rows_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cells.csv");
        for repeat in 0..3 {
            append(&path, &row(repeat)).unwrap();
        }
        assert_eq!(read(&path).unwrap(), [row(0), row(1), row(2)]);
    }

    #[test]
    fn a_line_that_was_cut_off_is_dropped_and_a_wrong_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cells.csv");
        append(&path, &row(0)).unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{whole}upload-100kB,1,up")).unwrap();
        assert_eq!(read(&path).unwrap().len(), 1);
        cut_to_whole_rows(&path).unwrap();
        append(&path, &row(1)).unwrap();
        assert_eq!(read(&path).unwrap(), [row(0), row(1)]);
        fs::write(&path, format!("{whole}upload-100kB,1,up\n")).unwrap();
        assert!(read(&path).unwrap_err().to_string().ends_with("line 3 is no row"));
        fs::write(&path, "a,b\n1,2\n").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("another version"));
    }
}
