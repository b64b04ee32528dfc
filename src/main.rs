//! The program: reads the command line, does what it says, and turns the outcome into an exit code.
//!
//! Exit codes are decided here and nowhere else: 0 done, 1 failed with the reason on stderr, 2 wrong command line (clap's). Of `check
//! focus` 1 says that a file violates FOCUS, and 2 that one could not be checked.

use std::process::ExitCode;

use clap::Parser;
use streamgauge::{
    cli::Cli,
    focus::{Unchecked, Violated},
    telemetry::Logged,
};

/// Decoding and queries allocate much and on many threads; the C library's allocator keeps what they free.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    settle_allocator();
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) if error.is::<Logged>() || error.is::<Violated>() => ExitCode::FAILURE,
        Err(error) if error.is::<Unchecked>() => ExitCode::from(2),
        Err(error) => {
            eprintln!("streamgauge: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Variable by which the allocator is told whether to ask for huge pages.
const HUGE_PAGES: &str = "MIMALLOC_ALLOW_THP";
/// Variable by which the allocator is told for how long it keeps what is free, milliseconds.
const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";

/// Tells the allocator not to ask for memory in pages of 2 MiB: our buffers live for moments, and clearing what they do not use took
/// a tenth of the time of a loaded server and a fifth of its memory; lookups among a million series are no slower without. And to give
/// back after a tenth of a second, not a whole one, what many threads freed: a burst leaves that much less behind. The allocator looks at
/// its settings before anything of ours runs, so the program starts itself once more, as the same process.
#[allow(clippy::disallowed_methods, reason = "settings of the allocator, which no setting of ours can reach")]
fn settle_allocator() {
    use std::os::unix::process::CommandExt;
    if std::env::var_os(HUGE_PAGES).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut again = std::process::Command::new(program);
    again.args(std::env::args_os().skip(1)).env(HUGE_PAGES, "0");
    if std::env::var_os(PURGE_DELAY).is_none() {
        again.env(PURGE_DELAY, "100");
    }
    // Returns only if it failed, and then all goes on, a little slower.
    let _ = again.exec();
}

/// Whoever reads our output has enough (`streamgauge sql … | head`).
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let causes = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    causes.into_iter().any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}
