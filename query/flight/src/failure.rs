//! Failures as gRPC has them: a code by what the caller does about it, and a sentence.

use std::any::Any;

use axum::{body::Body, http::Response};
use query::{Error, ErrorKind};
use tonic::{Code, Status};
use tracing::error;

use crate::limits::FAILURE_BYTES_MAX;

/// An error of the engine.
pub(crate) fn status(error: &Error) -> Status {
    let code = match error.kind {
        ErrorKind::Invalid => Code::InvalidArgument,
        ErrorKind::Execution => Code::FailedPrecondition,
        ErrorKind::Timeout => Code::DeadlineExceeded,
        ErrorKind::Canceled => Code::Cancelled,
        // The code for what may be tried again as it is.
        ErrorKind::Overloaded | ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::Internal => Code::Internal,
    };
    let mut message = cut(error.to_string());
    if let Some(place) = error.position.filter(|_| !message.contains("Line: ")) {
        message += &format!(" line={} column={}", place.line, place.column);
    }
    Status::new(code, message)
}

/// A message that fits into a header, whatever it repeats of what a client sent.
fn cut(mut message: String) -> String {
    message.truncate(message.floor_char_boundary(FAILURE_BYTES_MAX));
    message
}

/// What would write.
pub(crate) fn read_only(what: &str) -> Status {
    Status::invalid_argument(format!(
        "queries only read: {what} refused; send SELECT, SHOW TABLES, DESCRIBE or EXPLAIN"
    ))
}

/// A transaction was asked for.
pub(crate) fn no_transactions() -> Status {
    Status::unimplemented(
        "there are no transactions here: nothing is written, and each query reads one consistent state",
    )
}

/// Something of the protocol that is not spoken.
pub(crate) fn absent(what: &str) -> Status {
    Status::unimplemented(cut(format!("{what} not supported: ask in SQL, by GetFlightInfo or a prepared statement")))
}

/// Bytes that are no message.
pub(crate) fn unreadable(error: impl std::fmt::Display) -> Status {
    Status::invalid_argument(cut(format!("no message of Flight SQL: {error}")))
}

/// Somebody ended the query.
pub(crate) fn canceled() -> Status {
    Status::cancelled("query was canceled by its client")
}

/// Rows cannot be made into messages.
pub(crate) fn defect(error: impl std::fmt::Display) -> Status {
    Status::internal(cut(format!("the answer cannot be written: {error}")))
}

/// What a call answers that met a defect.
pub(crate) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response<Body> {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    error!(panic = text.unwrap_or("not text"), "a call of Flight SQL panicked: this is a defect, please report it");
    Status::internal("the server met a defect; the log has the place").into_http()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_a_code_and_a_place_is_told_once() {
        let of = |kind, message: &str| status(&Error::new(kind, message)).code();
        assert_eq!(of(ErrorKind::Overloaded, "too many"), Code::Unavailable);
        assert_eq!(of(ErrorKind::Timeout, "too long"), Code::DeadlineExceeded);
        let place = query::Position { line: 2, column: 8 };
        let at = |message: &str| status(&Error::new(ErrorKind::Invalid, message).at(Some(place))).message().to_owned();
        assert_eq!(at("no such column"), "no such column line=2 column=8");
        assert_eq!(at("expected: x at Line: 2, Column: 8"), "expected: x at Line: 2, Column: 8");
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let long = status(&Error::new(ErrorKind::Invalid, "ö".repeat(FAILURE_BYTES_MAX)));
        assert_eq!(long.message().len(), FAILURE_BYTES_MAX);
        assert_eq!(unreadable("x".repeat(1 << 20)).message().len(), FAILURE_BYTES_MAX);
        assert_eq!(absent(&"x".repeat(1 << 20)).message().len(), FAILURE_BYTES_MAX);
    }
}
