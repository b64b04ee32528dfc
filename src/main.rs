//! The program: reads the command line, does what it says, and turns the outcome into an exit code.
//!
//! Exit codes are decided here and nowhere else: 0 done, 1 failed with the reason on stderr, 2 wrong command line (clap's).

use std::process::ExitCode;

use clap::Parser;
use streamgauge::{cli::Cli, telemetry::Logged};

/// Decoding and queries allocate much and on many threads; the C library's allocator keeps what they free.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) if error.is::<Logged>() => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("streamgauge: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whoever reads our output has enough (`streamgauge sql … | head`).
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let causes = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    causes.into_iter().any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}
