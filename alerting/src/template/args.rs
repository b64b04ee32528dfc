//! The arguments of a function or method, taken by position and type.

use std::sync::Arc;

use super::value::Value;
use crate::Error;

/// Why a call did not succeed.
pub(super) enum Wrong {
    /// It is not to be called like this.
    Use(String),
    /// The argument of this place has to be of one type and is of another.
    Argument(usize, &'static str, &'static str),
    /// A value of this type has no such field.
    Field(&'static str),
    /// It was called and failed.
    Call(Error),
}

impl From<Error> for Wrong {
    fn from(error: Error) -> Self {
        Self::Call(error)
    }
}

/// What a function or method gives.
pub(super) type Called = Result<Value, Wrong>;

/// A failure of the function itself.
pub(super) fn failed<T>(message: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong::Call(Error::invalid(message)))
}

/// Arguments in order.
#[derive(Clone, Copy)]
pub(super) struct Args<'c>(pub(super) &'c [Value]);

impl<'c> Args<'c> {
    /// There have to be so many.
    pub(super) fn count(&self, name: &str, want: usize) -> Result<(), Wrong> {
        let got = self.0.len();
        if got == want {
            return Ok(());
        }
        Err(Wrong::Use(format!("wrong number of args for {name}: want {want} got {got}")))
    }

    /// An argument of any type.
    pub(super) fn value(&self, nth: usize) -> &'c Value {
        self.0.get(nth).unwrap_or(&Value::Nil)
    }

    /// An argument that is a text.
    pub(super) fn text(&self, nth: usize) -> Result<&'c Arc<str>, Wrong> {
        match self.value(nth) {
            Value::Text(text) | Value::Html(text) => Ok(text),
            Value::Nil => Err(Wrong::Argument(nth, "string", "interface {}")),
            other => Err(Wrong::Argument(nth, "string", other.type_name())),
        }
    }
}

/// The complaint about an argument's type.
pub(super) fn wrong_type(expected: &str, got: &Value) -> Wrong {
    Wrong::Use(match got {
        Value::Nil => format!("invalid value; expected {expected}"),
        _ => format!("wrong type for value; expected {expected}; got {}", got.type_name()),
    })
}
