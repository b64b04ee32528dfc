//! Errors as the protocol has them: a severity, a code of five characters, a sentence, and where in the text.

use query::{Error, ErrorKind};

use crate::wire::Out;

/// What a client is told when something fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// SQLSTATE.
    pub code: &'static str,
    pub message: String,
    /// Character of the text, from 1.
    pub position: Option<usize>,
    /// Does it end the connection?
    pub is_fatal: bool,
}

impl Failure {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), position: None, is_fatal: false }
    }

    pub fn fatal(code: &'static str, message: impl Into<String>) -> Self {
        Self { is_fatal: true, ..Self::new(code, message) }
    }

    /// The protocol was not kept to.
    pub fn protocol(message: impl Into<String>) -> Self {
        Self::fatal("08P01", message)
    }

    /// Somebody ended the query.
    pub fn canceled(message: &str) -> Self {
        Self::new("57014", message)
    }

    /// An error of the engine over `text`.
    pub fn of(error: &Error, text: &str) -> Self {
        let message = error.to_string();
        let position = error.position.and_then(|place| character(text, place.line, place.column));
        Self { code: code(error.kind, &message), position, message, is_fatal: false }
    }

    pub fn write(&self, out: &mut Out) {
        let severity = if self.is_fatal { "FATAL" } else { "ERROR" };
        out.message(b'E', |out| {
            for (field, text) in [(b'S', severity), (b'V', severity), (b'C', self.code), (b'M', self.message.as_str())]
            {
                out.put_u8(field);
                out.text(text);
            }
            if let Some(position) = self.position {
                out.put_u8(b'P');
                out.text(&position.to_string());
            }
            out.put_u8(0);
        });
    }
}

/// Which character, from 1, the given one of a line is.
fn character(text: &str, line: u64, column: u64) -> Option<usize> {
    let (line, column) = (usize::try_from(line).ok()?, usize::try_from(column).ok()?);
    let before = text.split_inclusive('\n').take(line.checked_sub(1)?).map(|line| line.chars().count());
    Some(before.sum::<usize>() + column.max(1))
}

/// Drivers act on codes. DataFusion tells what is wrong only in words, so those whose codes drivers know are told by their words.
fn code(kind: ErrorKind, message: &str) -> &'static str {
    let has = |part: &str| message.contains(part);
    match kind {
        ErrorKind::Invalid if has("queries only read") => "25006",
        ErrorKind::Invalid if has("no value for parameter") => "08P01",
        ErrorKind::Invalid if has("not valid SQL") || has("query is empty") => "42601",
        ErrorKind::Invalid if has("not found") && has("table ") => "42P01",
        ErrorKind::Invalid if has("No field named") || has("column not found") => "42703",
        ErrorKind::Invalid if has("Invalid function") || has("No function matches") => "42883",
        ErrorKind::Invalid if has("mbiguous") => "42702",
        ErrorKind::Invalid if has("This feature is not implemented") || has("are not shown") => "0A000",
        ErrorKind::Invalid => "42000",
        ErrorKind::Execution if has("ivide by zero") || has("ivision by zero") => "22012",
        ErrorKind::Execution if has("memory") => "53200",
        ErrorKind::Execution if has("too many rows") => "54000",
        ErrorKind::Execution if has("ast error") || has("parse") => "22P02",
        ErrorKind::Execution => "22000",
        ErrorKind::Timeout | ErrorKind::Canceled => "57014",
        ErrorKind::Overloaded => "53300",
        ErrorKind::Unavailable => "58030",
        ErrorKind::Internal => "XX000",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_lines_is_a_character_of_the_text() {
        assert_eq!(character("SELECT é,\n  nix", 2, 3), Some(13));
        assert_eq!(character("SELECT nix", 1, 8), Some(8));
    }

    #[test]
    fn drivers_find_the_codes_they_know() {
        let code = |kind, message: &str| Failure::of(&Error::new(kind, message), "").code;
        assert_eq!(code(ErrorKind::Invalid, "table 'streamgauge.public.nix' not found"), "42P01");
        assert_eq!(code(ErrorKind::Invalid, "queries only read: INSERT is refused"), "25006");
        assert_eq!(code(ErrorKind::Timeout, "query took too long"), "57014");
        assert_eq!(code(ErrorKind::Overloaded, "too many queries at once"), "53300");
    }
}
