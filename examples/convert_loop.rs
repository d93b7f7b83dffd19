//! Converts files one after the other inside this process, and says what each cost.
//!
//! `bench/codecs/run.py` and `tests/fidelity/run.py` drive it. Every line of stdin is a request, every line of
//! stdout its answer; both are fields between tabs:
//!
//! ```text
//! target  path  result-path-or-minus  key=value ...
//! ok      bytes-out  cpu-ns  peak-kib
//! error   kind       cpu-ns  peak-kib  message
//! ```
//!
//! The time is the CPU time of the whole process during the conversion alone: reading the file and
//! writing the result are outside. The peak is how far resident memory rose above where it stood
//! before the input was read.
#![allow(clippy::print_stdout, reason = "stdout is the answer")]

mod common;

use std::error::Error;
use std::io::{BufRead, Write};

use fxsrv::convert::{Options, Quality, Target, TextLayout, convert};
use fxsrv::limits::ConvertLimits;

/// The allocator of the `fxsrv` binary: the time for fresh pages depends on it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    for line in std::io::stdin().lock().lines() {
        let answer = answer(&line?)?;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn answer(line: &str) -> Result<String, Box<dyn Error>> {
    let mut fields = line.split('\t');
    let mut next = || fields.next().ok_or("a request has a target, a path and a result path");
    let (target, path, result_path) = (target(next()?)?, next()?, next()?);
    let options = options(fields)?;
    let limits = ConvertLimits::default();

    forget_peak()?;
    let resident_before = status_kib("VmRSS:")?;
    let input = std::fs::read(path)?;
    let start = common::cpu_ns();
    let result = convert(&input, target, &options, &limits);
    let cpu_ns = common::cpu_ns() - start;
    let peak_kib = status_kib("VmHWM:")?.saturating_sub(resident_before);
    Ok(match result {
        Ok(output) => {
            if result_path != "-" {
                std::fs::write(result_path, &output)?;
            }
            format!("ok\t{}\t{cpu_ns}\t{peak_kib}", output.len())
        }
        Err(error) => {
            let message = error.message.replace(['\t', '\n', '\r'], " ");
            format!("error\t{:?}\t{cpu_ns}\t{peak_kib}\t{message}", error.kind)
        }
    })
}

fn target(name: &str) -> Result<Target, String> {
    Ok(match name {
        "jpg" => Target::Jpg,
        "png" => Target::Png,
        "webp" => Target::Webp,
        "pdf" => Target::Pdf,
        "txt" => Target::Text,
        _ => return Err(format!("there is no target {name}")),
    })
}

fn options<'a>(fields: impl Iterator<Item = &'a str>) -> Result<Options, Box<dyn Error>> {
    let mut options = Options::default();
    for field in fields {
        match field.split_once('=') {
            Some(("quality", value)) => options.quality = Quality::new(value.parse()?),
            Some(("lossless", value)) => options.lossless = value.parse()?,
            Some(("layout", "physical")) => options.text_layout = TextLayout::Physical,
            _ => return Err(format!("there is no option {field}").into()),
        }
    }
    Ok(options)
}

/// Sets the kernel's high-water mark back to what is resident now.
fn forget_peak() -> std::io::Result<()> {
    std::fs::write("/proc/self/clear_refs", "5")
}

fn status_kib(key: &str) -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|rest| rest.split_whitespace().next()).ok_or("no such key")?;
    Ok(number.parse()?)
}
