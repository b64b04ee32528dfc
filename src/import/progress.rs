//! Shows how far an import is: a line that is drawn anew on a terminal, lines every few seconds elsewhere.
//!
//! Called by [`Sink`](super::sink::Sink). Everything goes to stderr, so that stdout has the outcome alone. Times come from the clock
//! given.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
};

use storage::Clock;

use crate::times::show_seconds;

/// How often a line is drawn on a terminal.
const DRAW_US: i64 = 200_000;
/// How often a line is printed elsewhere.
const PRINT_US: i64 = 5_000_000;
/// Characters of the bar.
const BAR: usize = 24;

/// What is shown of an import.
pub(crate) struct Progress {
    clock: Clock,
    terminal: bool,
    begun_us: i64,
    shown_us: i64,
    /// Share that was done before this run.
    before: f64,
    share: f64,
    what: String,
    /// What is counted.
    unit: &'static str,
    drawn: bool,
}

impl Progress {
    pub(super) fn new(clock: Clock, unit: &'static str) -> Self {
        let now_us = clock.now_us();
        let terminal = io::stderr().is_terminal();
        Self {
            clock,
            terminal,
            begun_us: now_us,
            shown_us: now_us,
            before: 0.0,
            share: 0.0,
            what: String::new(),
            unit,
            drawn: false,
        }
    }

    /// What is being imported.
    pub(crate) fn of(&mut self, what: String) {
        self.what = what;
    }

    /// Where it is: a share of the whole. What is passed over because it is done already makes no speed.
    pub(crate) fn at(&mut self, share: f64, passed_over: bool) {
        if passed_over {
            self.before += (share - self.share).max(0.0);
        }
        self.share = share.clamp(0.0, 1.0);
    }

    /// Seconds since the beginning.
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    pub(super) fn seconds(&self) -> f64 {
        (self.clock.now_us() - self.begun_us).max(1) as f64 / 1e6
    }

    /// Draws, if it is time to.
    pub(super) fn show(&mut self, done: u64) {
        let now_us = self.clock.now_us();
        if now_us - self.shown_us < if self.terminal { DRAW_US } else { PRINT_US } {
            return;
        }
        self.shown_us = now_us;
        let line = self.line(done);
        let mut err = io::stderr().lock();
        // What cannot be shown is not worth an error.
        let _ = if self.terminal {
            self.drawn = true;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the bar")]
            let full = (self.share * BAR as f64) as usize;
            write!(err, "\r\x1b[K[{:<BAR$}] {line}", "#".repeat(full.min(BAR))).and_then(|()| err.flush())
        } else {
            writeln!(err, "{line}")
        };
    }

    fn line(&self, done: u64) -> String {
        let seconds = self.seconds();
        #[allow(clippy::cast_precision_loss, reason = "for people")]
        let speed = count(done as f64 / seconds);
        let share = self.share - self.before;
        let left = if share > 0.001 { show_seconds(seconds * (1.0 - self.share) / share) } else { "?".to_owned() };
        format!("{:5.1} %  {speed} {}/s  ETA {left}  {}", self.share * 100.0, self.unit, self.what)
    }

    /// Prints a line of its own.
    pub(super) fn note(&mut self, text: impl Display) {
        let clear = if self.drawn { "\r\x1b[K" } else { "" };
        let _ = writeln!(io::stderr().lock(), "{clear}{text}");
    }

    /// Takes the drawn line away.
    pub(super) fn end(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

/// A number for people.
fn count(number: f64) -> String {
    match number {
        n if n >= 1e6 => format!("{:.1} M", n / 1e6),
        n if n >= 1e4 => format!("{:.0} k", n / 1e3),
        n => format!("{n:.0}"),
    }
}
