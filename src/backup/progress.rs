//! Shows how far a copy is, on stderr: a line every few seconds.

use std::{
    cell::Cell,
    io::{self, Write},
};

use storage::{Clock, Copied};

/// How often a line is printed.
const PRINT_US: i64 = 3_000_000;

/// What is shown of a copy.
pub(crate) struct Progress {
    /// What is done with files.
    what: &'static str,
    clock: Clock,
    shown_us: Cell<i64>,
}

impl Progress {
    pub(crate) fn new(what: &'static str, clock: Clock) -> Self {
        let shown_us = Cell::new(clock.now_us());
        Self { what, clock, shown_us }
    }

    /// Prints, if it is time to.
    pub(crate) fn show(&self, Copied { files, bytes }: Copied) {
        let now_us = self.clock.now_us();
        if files.1 == 0 || now_us - self.shown_us.get() < PRINT_US {
            return;
        }
        self.shown_us.set(now_us);
        let (done, all) = (size(bytes.0), size(bytes.1));
        // Progress that nobody can be told is no reason to stop.
        let _ = writeln!(io::stderr().lock(), "{} {} of {} files, {done} of {all}", self.what, files.0, files.1);
    }
}

/// A number of bytes for people.
#[expect(clippy::cast_precision_loss, reason = "for people")]
pub(crate) fn size(bytes: u64) -> String {
    let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.iter().find(|(_, factor)| bytes >= *factor) {
        Some((unit, factor)) => format!("{:.1} {unit}", bytes as f64 / *factor as f64),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        assert_eq!([0, 1023, 1024, 1_600_000, 10 << 30].map(size), ["0 B", "1023 B", "1.0 KiB", "1.5 MiB", "10.0 GiB"]);
    }
}
