//! The `fxsrv-bench` binary.

/// The server's own, so that the generator is not slower in what both do.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    fxsrv_bench::cli::run()
}
