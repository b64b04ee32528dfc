//! Evaluates what stands in actions: pipelines, commands, chains of names, calls of functions.

use super::{
    super::{
        Flavour,
        args::{Args, Wrong},
        ast::{Command, Operand, Pipe, Term},
        builtin, field, notification, rule,
        value::Value,
    },
    At, Run,
};
use crate::{Error, Result};

/// What a name or a function is called with.
struct Call<'a, 'd> {
    /// The words it is called by.
    operand: &'a Operand,
    arguments: &'a [Operand],
    dot: &'d Value,
    /// What the command before gave: the last argument.
    last: Option<Value>,
}

impl<'a, 'd> Call<'a, 'd> {
    /// Without arguments.
    fn bare(operand: &'a Operand, dot: &'d Value) -> Self {
        Self { operand, arguments: &[], dot, last: None }
    }
}

impl<'a> Run<'a> {
    pub(super) fn assign(&mut self, name: &str, value: Value) {
        if let Some(variable) = self.variables.iter_mut().rev().find(|(known, _)| *known == name) {
            variable.1 = value;
        }
    }

    pub(super) fn pipe(&mut self, pipe: &'a Pipe, dot: &Value) -> Result<Value> {
        self.deeper(|run| {
            run.at = (pipe.at, At::Pipe(pipe));
            let mut value = None;
            for command in &pipe.commands {
                value = Some(run.command(command, dot, value)?);
            }
            let value = value.unwrap_or_default();
            for name in &pipe.variables {
                if pipe.assigns {
                    run.assign(name, value.clone());
                } else {
                    run.variables.push((name, value.clone()));
                }
            }
            Ok(value)
        })
    }

    /// Evaluates a command; `last` is what the command before it gave.
    fn command(&mut self, command: &'a Command, dot: &Value, last: Option<Value>) -> Result<Value> {
        let Some((first, rest)) = command.operands.split_first() else { return Ok(Value::Nil) };
        let call = |last| Call { operand: first, arguments: rest, dot, last };
        match &first.term {
            Term::Field(names) => self.fields(dot.clone(), names, call(last)),
            Term::Chain(operand, names) => {
                let receiver = self.operand(operand, dot)?;
                self.fields(receiver, names, call(last))
            }
            Term::Variable(name, names) if !names.is_empty() => self.fields(self.variable(name), names, call(last)),
            Term::Function(name) => self.function(name, At::Command(command), call(last)),
            _ => {
                self.look(first);
                if !rest.is_empty() || last.is_some() {
                    return Err(self.error(format!("can't give argument to non-function {first}")));
                }
                if matches!(first.term, Term::Nil) {
                    return Err(self.error("nil is not a command"));
                }
                self.operand(first, dot)
            }
        }
    }

    fn variable(&self, name: &str) -> Value {
        self.variables
            .iter()
            .rev()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.clone())
            .unwrap_or_default()
    }

    /// The value of one operand.
    fn operand(&mut self, operand: &'a Operand, dot: &Value) -> Result<Value> {
        self.look(operand);
        Ok(match &operand.term {
            Term::Dot => dot.clone(),
            Term::Nil => Value::Nil,
            Term::Bool(truth) => Value::Bool(*truth),
            Term::Number(number) => match (number.is_float, number.int, number.float) {
                (false, Some(int), _) => Value::Int(int),
                (_, _, float) => Value::Float(float.unwrap_or(f64::NAN)),
            },
            Term::Text { text, .. } => Value::Text(text.clone()),
            Term::Field(names) => return self.fields(dot.clone(), names, Call::bare(operand, dot)),
            Term::Variable(name, names) => {
                return self.fields(self.variable(name), names, Call::bare(operand, dot));
            }
            Term::Function(name) => return self.function(name, At::Operand(operand), Call::bare(operand, dot)),
            Term::Pipe(pipe) => return self.pipe(pipe, dot),
            Term::Chain(first, names) => {
                let receiver = self.operand(first, dot)?;
                return self.fields(receiver, names, Call::bare(operand, dot));
            }
        })
    }

    /// Follows names from a value; the last one may be a method that takes arguments.
    fn fields(&mut self, receiver: Value, names: &'a [Box<str>], call: Call<'a, '_>) -> Result<Value> {
        let mut arguments = Vec::new();
        // After a parenthesis, Go's errors stay where it ended.
        if !matches!(call.operand.term, Term::Chain(..)) {
            self.look(call.operand);
        }
        let at = self.at;
        for argument in call.arguments {
            arguments.push(self.operand(argument, call.dot)?);
        }
        arguments.extend(call.last);
        self.at = at;
        // Nothing has no fields, and whoever asks gets nothing.
        if matches!(receiver, Value::Nil) {
            return Ok(receiver);
        }
        let (mut value, mut of_map) = (receiver, false);
        for (nth, name) in names.iter().enumerate() {
            if matches!(value, Value::Nil) {
                return Err(self.error(format!("nil pointer evaluating interface {{}}.{name}")));
            }
            let is_last = nth + 1 == names.len();
            let arguments = if is_last { &*arguments } else { &[] };
            let receiver = std::mem::take(&mut value);
            value = match field::get(&receiver, name, Args(arguments)) {
                Ok(value) => value,
                // Go knows of an entry of such a map no more than this.
                Err(Wrong::Field(_)) if of_map => {
                    return Err(self.wrong(name, Wrong::Field("interface {}"), call.arguments));
                }
                Err(wrong) => return Err(self.wrong(name, wrong, call.arguments)),
            };
            of_map = matches!(receiver, Value::Map(_));
            // What was there is shared; methods make anew.
            if matches!(receiver, Value::Kv(_) | Value::List(_) | Value::Time(_)) {
                self.worked(value.bytes())?;
            }
        }
        Ok(value)
    }

    /// The error of a call with these arguments.
    fn wrong(&mut self, name: &str, wrong: Wrong, rest: &'a [Operand]) -> Error {
        match wrong {
            Wrong::Use(message) => self.error(message),
            Wrong::Field(type_name) => self.error(format!("can't evaluate field {name} in type {type_name}")),
            Wrong::Argument(nth, expected, got) => {
                let Some(argument) = rest.get(nth) else {
                    return self.error(format!("wrong type for value; expected {expected}; got {got}"));
                };
                self.look(argument);
                self.error(match argument.term {
                    Term::Nil => format!("cannot assign nil to {expected}"),
                    Term::Number(_) | Term::Bool(_) | Term::Text { .. } => {
                        format!("expected {expected}; found {argument}")
                    }
                    _ => format!("wrong type for value; expected {expected}; got {got}"),
                })
            }
            Wrong::Call(error) => self.error(format!("error calling {name}: {error}")),
        }
    }

    fn function(&mut self, name: &'a str, command: At<'a>, call: Call<'a, '_>) -> Result<Value> {
        self.look(call.operand);
        let Some((least, most)) = self.set.flavour().arity(name) else {
            return Err(self.error(format!("{name:?} is not a defined function")));
        };
        let count = call.arguments.len() + usize::from(call.last.is_some());
        if count < least || count > most {
            let at_least = if most == usize::MAX { "at least " } else { "" };
            let want = if count < least { least } else { most };
            let message = format!("wrong number of args for {name}: want {at_least}{want} got {count}");
            return Err(self.error(message));
        }
        if matches!(name, "and" | "or") {
            return self.short(name == "and", call);
        }
        let mut values = Vec::with_capacity(count);
        for argument in call.arguments {
            values.push(self.operand(argument, call.dot)?);
        }
        values.extend(call.last);
        let texts = values.iter().filter(|value| matches!(value, Value::Text(_) | Value::Html(_)));
        self.worked(texts.map(Value::bytes).sum())?;
        let called = match (builtin::call(name, Args(&values), self.bytes_max()), self.set.flavour()) {
            (Some(called), _) => called,
            (None, Flavour::Rule) => rule::call(self, name, Args(&values)),
            (None, Flavour::Notification) => notification::call(self, name, Args(&values)),
        };
        let value = match called {
            Ok(value) => value,
            Err(wrong) => {
                self.at = (call.operand.at, command);
                return Err(self.wrong(name, wrong, call.arguments));
            }
        };
        self.worked(value.bytes())?;
        Ok(value)
    }

    /// `and` and `or`: the first value that decides; what comes after it is not evaluated.
    fn short(&mut self, and: bool, call: Call<'a, '_>) -> Result<Value> {
        let mut value = Value::Nil;
        for argument in call.arguments {
            value = self.operand(argument, call.dot)?;
            if value.is_true() != and {
                return Ok(value);
            }
        }
        Ok(call.last.unwrap_or(value))
    }
}
