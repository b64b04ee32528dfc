//! Text for a terminal: without what would steer it, on one screen or in a pager.
//!
//! Called by `sql` and `shell`. Labels and tags are written by whoever may send them, and read by whoever asks: what they say must not move the
//! cursor, set the title of a window, or turn the reading direction.

use std::{
    io::{self, IsTerminal, Write},
    process::{Command, Stdio},
};

use anyhow::Result;
use unicode_width::UnicodeWidthStr;

use super::ask::Stop;

/// What shows a long answer, if `PAGER` names nothing; without a word where there is no such program.
const PAGER: &str = "command -v less >/dev/null || exit 127; exec less";
/// How `less` does so, if `LESS` does not say it: lines are cut off and not folded, and what fits on a screen stays on it.
const LESS: &str = "SFRX";
/// What a shell says of a program that cannot be started.
const NOT_STARTED: [i32; 2] = [126, 127];

/// The same text, with a mark in the place of each character that would steer a terminal. Lines stay lines.
pub(super) fn clean(text: &str) -> String {
    text.chars().filter(|c| *c != '\r').map(|c| if c == '\n' { c } else { harmless(c) }).collect()
}

/// The same for a text that is one line.
pub(super) fn clean_line(text: &str) -> String {
    text.chars().map(harmless).collect()
}

fn harmless(c: char) -> char {
    match c {
        '\t' => ' ',
        // Separators of lines, and what turns the direction of text.
        '\u{2028}'
        | '\u{2029}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{061c}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

/// Where answers go: as they are, or clean if somebody looks at them.
pub(super) fn stdout() -> Box<dyn Write> {
    let out = io::stdout();
    if out.is_terminal() { Box::new(Screened { into: out, held: Vec::new() }) } else { Box::new(out.lock()) }
}

/// Writes text clean, in whatever parts it comes.
struct Screened<W> {
    into: W,
    /// Bytes of a character that is not whole yet.
    held: Vec<u8>,
}

impl<W: Write> Write for Screened<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        // What is no text stays none, however much follows.
        let whole = match std::str::from_utf8(&self.held) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.held.len(),
        };
        let text: Vec<u8> = self.held.drain(..whole).collect();
        self.into.write_all(clean(&String::from_utf8_lossy(&text)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.into.flush()
    }
}

/// Lines and columns of a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Screen {
    pub(super) columns: usize,
    pub(super) lines: usize,
}

impl Screen {
    /// Is a text taller than the screen, with lines folded that are too wide?
    fn overflows(self, text: &str) -> bool {
        let columns = self.columns.max(1);
        let height = |line: &str| line.width().div_ceil(columns).max(1);
        // The prompt takes the last line.
        let mut left = self.lines.saturating_sub(1);
        text.lines().any(|line| {
            let fits = height(line) <= left;
            left = left.saturating_sub(height(line));
            !fits
        })
    }

    /// Are there a few lines, of which one is wider than the screen? Many lines are read in a pager, which cuts them off.
    pub(super) fn is_narrow_for(self, text: &str) -> bool {
        text.lines().count() < self.lines && text.lines().any(|line| line.width() > self.columns)
    }
}

/// What shows long answers.
#[derive(Debug)]
pub(super) struct Pager {
    /// A line for `sh`; empty for none.
    command: String,
    less: String,
}

impl Pager {
    /// By what the variables `PAGER` and `LESS` say.
    pub(super) fn of(pager: Option<String>, less: Option<String>) -> Self {
        Self { command: pager.unwrap_or_else(|| PAGER.to_owned()), less: less.unwrap_or_else(|| LESS.to_owned()) }
    }

    /// Shows a text; it may be left before all is read. False if there is no such program.
    fn shows(&self, text: &str) -> bool {
        let mut command = Command::new("sh");
        command.args(["-c", &self.command]).env("LESS", &self.less).stdin(Stdio::piped());
        let Ok(mut child) = command.spawn() else { return false };
        if let Some(mut into) = child.stdin.take() {
            let _ = into.write_all(text.as_bytes());
        }
        child.wait().is_ok_and(|status| !status.code().is_some_and(|code| NOT_STARTED.contains(&code)))
    }
}

/// Shows a clean text; in a pager if it is taller than the screen.
///
/// # Errors
/// If the terminal takes no text.
pub(super) fn show(text: &str, screen: Option<Screen>, pager: &Pager, stop: &Stop) -> Result<()> {
    let is_tall = screen.is_some_and(|screen| screen.overflows(text));
    if is_tall && !pager.command.trim().is_empty() && pager.shows(text) {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    for line in text.split_inclusive('\n') {
        if stop.is_asked() {
            writeln!(out)?;
            break;
        }
        out.write_all(line.as_bytes())?;
    }
    Ok(out.flush()?)
}

/// How long something took, for people.
pub(super) fn duration(us: i64) -> String {
    let ms = us.max(0) / 1000;
    match ms {
        0..1_000 => format!("{ms}.{} ms", us.max(0) % 1000 / 100),
        1_000..60_000 => format!("{}.{:03} s", ms / 1000, ms % 1000),
        _ => format!("{} min {:02} s", ms / 60_000, ms / 1000 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_gets_through() {
        let hostile = "a\u{1b}]0;title\u{7}\u{1b}[2J\rb\u{9b}31m\u{202e}c\u{7f}\td\u{2028}";
        for clean in [clean(hostile), clean_line(hostile)] {
            assert!(!clean.chars().any(|c| c.is_control() || c == '\u{202e}' || c == '\u{2028}'), "{clean:?}");
            assert!(clean.contains("]0;title") && clean.contains("c\u{fffd} d"), "{clean:?}");
        }
        assert_eq!(clean("a\r\nb\n"), "a\nb\n");
        assert_eq!(clean_line("a\nb"), "a\u{fffd}b");
        assert_eq!(clean("é漢 ▁█"), "é漢 ▁█");
    }

    #[test]
    fn text_in_parts_is_written_clean() {
        let text = "é\u{1b}[2J漢\u{9b}\r\n".as_bytes();
        for size in 1..text.len() {
            let mut out = Screened { into: Vec::new(), held: Vec::new() };
            for part in text.chunks(size) {
                out.write_all(part).unwrap();
            }
            assert_eq!(String::from_utf8(out.into).unwrap(), "é\u{fffd}[2J漢\u{fffd}\n", "{size}");
        }
        let mut out = Screened { into: Vec::new(), held: Vec::new() };
        out.write_all(b"a\xff\xe6b").unwrap();
        assert_eq!(String::from_utf8(out.into).unwrap(), "a\u{fffd}\u{fffd}b");
    }

    #[test]
    fn a_text_overflows_with_its_folded_lines_and_the_prompt() {
        let screen = Screen { columns: 4, lines: 3 };
        for (text, overflows) in [("a\nb\n", false), ("a\nb\nc\n", true), ("12345\n", false), ("123456789\n", true)] {
            assert_eq!(screen.overflows(text), overflows, "{text:?}");
        }
        assert!(screen.overflows("漢字漢\n\n"), "wide characters take two columns");
        for (text, is_narrow) in [("1234\n", false), ("12345\nb\n", true), ("漢字漢\n", true), ("12345\nb\nc\n", false)]
        {
            assert_eq!(screen.is_narrow_for(text), is_narrow, "{text:?}");
        }
    }

    #[test]
    fn times_are_told_in_units_that_fit() {
        let told = [(-1, "0.0 ms"), (1_234, "1.2 ms"), (999_999, "999.9 ms"), (61_000_000, "1 min 01 s")];
        for (us, text) in told {
            assert_eq!(duration(us), text);
        }
        assert_eq!(duration(1_234_567), "1.234 s");
    }

    #[test]
    fn a_pager_that_is_not_there_loses_nothing() {
        let shows = |command: &str| Pager::of(Some(command.to_owned()), None).shows("text\n");
        assert!(!shows("streamgauge-has-no-such-pager"));
        assert!(shows("cat > /dev/null"));
        assert!(shows("test \"$LESS\" = SFRX && cat > /dev/null"), "whoever names `less` alone sees lines cut off");
    }
}
