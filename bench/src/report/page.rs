//! The page.

use std::fmt::Write as _;

use super::chart::THEME;
use super::data::{self, Axis, Centre, short};
use super::{Plot, reference};
use crate::job::Job;
use crate::results::record::Record;
use crate::results::table::Row;

const STYLE: &str = "body{margin:0 auto;max-width:66rem;padding:1.5rem;background:var(--paper);\
color:var(--ink);font:16px/1.5 system-ui,sans-serif}h1{margin:0 0 .25rem;font-size:1.6rem}\
h2{margin:2.2rem 0 .4rem;font-size:1.15rem}p{margin:.3rem 0 .8rem}.dim{color:var(--dim)}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.88rem}\
th,td{padding:.25rem .5rem;text-align:right;border-bottom:1px solid var(--grid);white-space:nowrap}\
th{color:var(--dim);font-weight:500}th:first-child,td:first-child{text-align:left}\
.scroll{overflow-x:auto}figure{margin:0;padding:.75rem;background:var(--card);border-radius:8px}\
figure svg{display:block;width:100%;height:auto}dl{display:grid;grid-template-columns:max-content 1fr;\
gap:.1rem 1rem;margin:.8rem 0;font-size:.9rem}dt{color:var(--dim)}dd{margin:0;overflow-wrap:anywhere}\
ul{padding-left:1.2rem}li{margin:.2rem 0}details{margin-top:2rem}summary{cursor:pointer}";

/// Columns of the table of the centre: a heading, and what stands below it.
type Column = (&'static str, fn(&Row) -> String);

const COLUMNS: [Column; 11] = [
    ("job", |row| row.job.clone()),
    ("requests/s", |row| dash(row.closed_per_s)),
    ("MB/s up", |row| dash(row.closed_up_mb_per_s)),
    ("offered/s", |row| dash(row.offered_per_s)),
    ("p50 ms", |row| dash(row.p50_ms)),
    ("p90 ms", |row| dash(row.p90_ms)),
    ("p99 ms", |row| if row.open_requests < 100 { "-".to_owned() } else { short(row.p99_ms) }),
    ("max ms", |row| dash(row.max_ms)),
    ("CPU s/GB", |row| if row.body_bytes > 0 { dash(row.server_cpu_s_per_gb) } else { "-".into() }),
    ("CPU µs", |row| dash(row.server_cpu_us_per_request)),
    ("generator µs", |row| short(row.generator_cpu_us_per_request)),
];

/// What a request costs the servers: of the closed loop, but for what is counted in loads of its own.
const COSTS: [Column; 13] = [
    ("job", |row| row.job.clone()),
    ("CPU µs master", |row| each(row.master_cpu_s * 1e6, row)),
    ("worker", |row| each(row.worker_cpu_s * 1e6, row)),
    ("syscalls master", |row| dash(row.master_syscalls_per_request)),
    ("worker", |row| dash(row.worker_syscalls_per_request)),
    ("switches master", |row| dash(row.master_switches_per_request)),
    ("worker", |row| dash(row.worker_switches_per_request)),
    ("allocations", |row| dash(row.allocations_per_request)),
    ("copied/byte", |row| dash(row.copied_per_byte)),
    ("converting ms", |row| dash(row.convert_mean_ms)),
    ("all else ms", |row| dash(row.transport_mean_ms)),
    ("peak MB master", |row| dash(row.master_rss_peak_mb)),
    ("worker", |row| dash(row.worker_rss_peak_mb)),
];

fn each(value: f64, row: &Row) -> String {
    if row.closed_requests == 0 { "-".into() } else { dash(value / row.closed_requests as f64) }
}

pub(super) fn page(
    record: &Record,
    rows: &[Row],
    centre: &Centre,
    plots: &[Plot],
    pairs: &[reference::Pair],
) -> String {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>{THEME}{STYLE}</style></head><body>\n<h1>{title}</h1>\n<p class=\"dim\">{about}</p>\n",
        title = escape(&format!("fxsrv-bench: {} at {}", record.plan, record.commit)),
        about = escape(&record.about),
    );
    facts(&mut html, record, rows);
    warnings(&mut html, record);
    centre_table(&mut html, record, rows, centre);
    for plot in plots {
        // Writing to a string does not fail, here and below.
        let _ = writeln!(
            html,
            "<h2>{}</h2>\n<p class=\"dim\">{}</p>\n<figure>{}</figure>",
            escape(&plot.title),
            escape(&plot.about),
            plot.svg
        );
    }
    costs(&mut html, record, rows, centre);
    knees(&mut html, rows, centre);
    reference::table(&mut html, pairs);
    all_cells(&mut html, rows);
    html.push_str("</body></html>\n");
    html
}

fn facts(html: &mut String, record: &Record, rows: &[Row]) {
    let machine = &record.machine;
    let memory_gb = machine.memory_bytes as f64 / 1e9;
    let network = if record.isolated_network { "a network namespace of its own" } else { "shared" };
    let facts = [
        ("when", format!("{}, {:.0} s", record.began, record.took_seconds)),
        ("server", format!("{} {}", record.server, record.server_flags.join(" "))),
        ("wire", record.wire.clone()),
        ("machine", format!("{}, {} cores, {memory_gb:.0} GB", machine.cpu, machine.cores)),
        ("kernel", format!("Linux {}, {}", machine.kernel, machine.congestion_control)),
        ("network", format!("loopback, {network}")),
        (
            "generator",
            format!("{} thread(s), {}, on the same machine", record.threads, record.driver),
        ),
        (
            "measured",
            format!(
                "{} cells, {} round(s); {} ms of each loop after {} ms of warm-up; {} arrivals at \
                 {:.0} % of the capacity; {} content of seed {}; checksum {}",
                rows.len(),
                record.repeats,
                record.measured_ms,
                record.warm_up_ms,
                record.arrivals,
                record.utilisation * 100.0,
                record.motif,
                record.seed,
                record.checksum,
            ),
        ),
        ("command", record.command.join(" ")),
    ];
    html.push_str("<dl>");
    for (name, value) in facts {
        let _ = write!(html, "<dt>{name}</dt><dd>{}</dd>", escape(value.trim()));
    }
    html.push_str("</dl>\n");
}

fn warnings(html: &mut String, record: &Record) {
    if record.warnings.is_empty() {
        return;
    }
    html.push_str("<h2>Reasons for doubt</h2>\n<ul>");
    for noted in &record.warnings {
        let place = match noted.measurements {
            0 => String::new(),
            count => format!(" in {count} of {} measurements; of the first", record.measurements),
        };
        let _ = write!(
            html,
            "<li><b>{}</b>{place}: {}.</li>",
            escape(&noted.name),
            escape(&noted.text)
        );
    }
    html.push_str("</ul>\n");
}

fn centre_table(html: &mut String, record: &Record, rows: &[Row], centre: &Centre) {
    let _ = writeln!(
        html,
        "<h2>At the centre</h2>\n<p class=\"dim\">{}. Requests and MB a second are of the closed \
         loop, which is the capacity; the latencies are of the open loop at {:.0} % of it. A p99 \
         needs 100 requests. CPU is that of master and worker, µs are for a request.</p>",
        escape(&centre.all()),
        record.utilisation * 100.0
    );
    table(html, &COLUMNS, data::at_centre(rows, centre));
}

fn table<'a>(html: &mut String, columns: &[Column], rows: impl Iterator<Item = &'a Row>) {
    html.push_str("<div class=\"scroll\"><table><tr>");
    for (heading, _) in columns {
        let _ = write!(html, "<th>{heading}</th>");
    }
    html.push_str("</tr>\n");
    for row in rows {
        html.push_str("<tr>");
        for (_, value) in columns {
            let _ = write!(html, "<td>{}</td>", escape(&value(row)));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</table></div>\n");
}

fn costs(html: &mut String, record: &Record, rows: &[Row], centre: &Centre) {
    if rows.iter().all(|row| row.master_rss_peak_mb == 0.0) {
        // Of a server elsewhere nothing of this is known.
        return;
    }
    let _ = writeln!(
        html,
        "<h2>What a request costs the servers</h2>\n<p class=\"dim\">{}. CPU, context switches and \
         times are of the closed loop. System calls (by {}), allocations (by the same server with an \
         allocator that counts) and bytes that the servers' own code copies, for a byte of body, are \
         of loads of their own; - is not counted. Peaks of memory are over the cell.</p>",
        escape(&centre.all()),
        escape(&record.syscalls),
    );
    table(html, &COSTS, data::at_centre(rows, centre));
}

fn knees(html: &mut String, rows: &[Row], centre: &Centre) {
    let found: Vec<_> = Job::all()
        .filter_map(|job| {
            let along = data::along(rows, Axis::Connections, centre, job.name());
            data::knee(&along).map(|knee| (job, knee))
        })
        .collect();
    if found.is_empty() {
        return;
    }
    let _ = writeln!(
        html,
        "<h2>Knee and saturation</h2>\n<p class=\"dim\">By connections, closed loop. At the knee \
         throughput over median latency is the highest (Kleinrock's power); saturation is reached \
         with the fewest connections that bring 95 % of the best throughput. {}.</p>\n\
         <div class=\"scroll\"><table><tr><th>job</th><th>knee</th><th>saturation</th>\
         <th>best requests/s</th></tr>",
        escape(&centre.without(Axis::Connections))
    );
    for (job, knee) in found {
        let _ = writeln!(
            html,
            "<tr><td>{job}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            knee.connections,
            knee.saturation,
            short(knee.best_per_s)
        );
    }
    html.push_str("</table></div>\n");
}

/// Everything, for whoever looks for one cell; the files have more columns.
fn all_cells(html: &mut String, rows: &[Row]) {
    let mut columns = vec![("cell", (|row| row.cell.clone()) as fn(&Row) -> String)];
    columns.extend(&COLUMNS[1..]);
    columns.push(("convert ms", |row| dash(row.convert_mean_ms)));
    columns.push(("worker MB", |row| dash(row.worker_rss_peak_mb)));
    columns.push(("failures", |row| row.failure_kinds.clone()));
    columns.push(("doubts", |row| row.warnings.clone()));
    let _ = writeln!(
        html,
        "<details><summary>All {} cells</summary>\n<p class=\"dim\">Of repeats the one of the median \
         capacity. All columns and repeats are in cells.csv, all latencies in hdr/.</p>",
        rows.len()
    );
    table(html, &columns, rows.iter());
    html.push_str("</details>\n");
}

pub(super) fn dash(value: f64) -> String {
    if value > 0.0 { short(value) } else { "-".to_owned() }
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
