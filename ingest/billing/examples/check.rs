//! Checks FOCUS files and says what was found and how long it took: `check FILE…`; `check read FILE…` reads them for a load instead, which
//! checks the musts on the way.
#![allow(clippy::disallowed_methods, reason = "this is a measurement")]

use std::{fs::File, time::Instant};

use billing::{Options, Reader, check_focus};

/// The allocator of the product, which keeps the memory of a batch for the next one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut paths: Vec<_> = std::env::args().skip(1).collect();
    let is_read = paths.first().is_some_and(|first| first == "read");
    for path in paths.split_off(usize::from(is_read)) {
        let start = Instant::now();
        let rows = if is_read { read(&path)? } else { check(&path)? };
        let took = start.elapsed().as_secs_f64();
        #[allow(clippy::cast_precision_loss, reason = "for people")]
        let rate = rows as f64 / took;
        println!("  {rows} rows in {took:.3} s: {rate:.0} rows/s");
    }
    Ok(())
}

fn check(path: &str) -> Result<u64, Box<dyn std::error::Error>> {
    let found = check_focus(File::open(path)?, path, None)?;
    println!("{path}: FOCUS {}, {} columns", found.version, found.columns);
    for violation in &found.violations {
        let first: Vec<_> = violation.first.iter().map(|first| format!("{}: {}", first.line, first.value)).collect();
        println!("  {} {} {} rows; {}", violation.rule.level, violation.rule.id, violation.rows, first.join(" | "));
    }
    Ok(found.rows)
}

fn read(path: &str) -> Result<u64, Box<dyn std::error::Error>> {
    let assume = [("BillingCurrency".to_owned(), "USD".to_owned())].into();
    let options = Options { file: path.to_owned(), assume, ..Options::default() };
    let mut reader = Reader::open(File::open(path)?, options)?;
    while reader.next_batch()?.is_some() {}
    Ok(reader.report().rows_read)
}
