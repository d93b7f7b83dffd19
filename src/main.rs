//! The `fxsrv` binary.

#[global_allocator]
static ALLOCATOR: fxsrv::isolation::Allocator = fxsrv::isolation::Allocator;

fn main() -> std::process::ExitCode {
    fxsrv::cli::run()
}
