//! The `fxsrv-bench` binary.

fn main() -> std::process::ExitCode {
    fxsrv_bench::cli::run()
}
