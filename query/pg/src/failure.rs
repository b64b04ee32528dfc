//! Errors as the protocol has them: a severity, a code of five characters, a sentence, and where in the text.

use query::{Error, ErrorKind, Fault};

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
        Self { code: code(error), position, message, is_fatal: false }
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

/// Drivers act on codes: that of what is wrong, or of the kind of the error where that is not known.
fn code(error: &Error) -> &'static str {
    match error.fault {
        Some(fault) => of_fault(fault),
        None => match error.kind {
            ErrorKind::Invalid => "42000",
            ErrorKind::Execution => "22000",
            ErrorKind::Timeout | ErrorKind::Canceled => "57014",
            ErrorKind::Overloaded => "53300",
            ErrorKind::Unavailable => "58030",
            ErrorKind::Internal => "XX000",
        },
    }
}

fn of_fault(fault: Fault) -> &'static str {
    match fault {
        Fault::Syntax => "42601",
        Fault::UnknownTable => "42P01",
        Fault::UnknownColumn => "42703",
        Fault::UnknownFunction => "42883",
        Fault::AmbiguousColumn => "42702",
        Fault::DuplicateName => "42712",
        Fault::Grouping => "42803",
        Fault::WrongType => "42804",
        Fault::Parameter => "42P02",
        Fault::ReadOnly => "25006",
        Fault::NotSupported => "0A000",
        Fault::DivisionByZero => "22012",
        Fault::BadText => "22P02",
        Fault::BadTime => "22007",
        Fault::BadPattern => "2201B",
        Fault::OutOfRange => "22003",
        Fault::SeveralRows => "21000",
        Fault::OutOfMemory => "53200",
        Fault::TooLarge => "54000",
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
        let code = |error: Error| Failure::of(&error, "").code;
        let invalid = || Error::new(ErrorKind::Invalid, "table 'streamgauge.public.nix' not found");
        assert_eq!(code(invalid().of(Fault::UnknownTable)), "42P01");
        assert_eq!(code(invalid()), "42000", "words say nothing");
        assert_eq!(code(Error::new(ErrorKind::Timeout, "query took too long")), "57014");
        assert_eq!(code(Error::new(ErrorKind::Overloaded, "too many queries at once")), "53300");
    }
}
