//! Renders a tree: walks it with data and prints.
//!
//! Called by `Set`. Everything a hostile template could ask for is bounded: steps, levels, bytes printed and bytes made on the way, calls of
//! `query`. What fails names the file, the line, the column and the words, as Go does.

use std::fmt;

use hashbrown::HashMap;
use regex::Regex;

use super::{
    Env, Flavour, Set,
    args::{Args, Wrong},
    ast::{Branch, Command, Node, Operand, Pipe, Term, Tree},
    builtin, field, format,
    html::Html,
    notification, rule, text,
    value::{Sample, Value},
};
use crate::{Error, Result};

/// Nodes walked and rounds of loops in one rendering: loops over integers, and templates that call each other twice, cost time and no
/// bytes. A notification about a thousand alerts walks some fifty thousand.
const STEPS_MAX: usize = 1_000_000;
/// Levels of blocks, parentheses and templates within each other, each some 2 KiB of stack.
const DEPTH_MAX: usize = 200;
/// Bytes that functions read and make, as a multiple of the bytes that may be printed: a template may build its output in parts and look
/// at it several times, and not fill the memory.
const WORK_FACTOR: usize = 16;
/// What compiling a pattern counts as: the least memory it may take, so that some 250 different ones can be in a template.
const PATTERN_WORK: usize = 64 << 10;
/// Queries of one rendering. Rules in use ask one or two; each is as dear as the rule itself.
const QUERIES_MAX: usize = 100;
/// Characters of a template that an error repeats: what is seen at a glance.
const WORDS_MAX: usize = 200;

/// A rendering on its way.
pub(super) struct Run<'a> {
    pub(super) set: &'a Set,
    pub(super) env: &'a Env<'a>,
    /// The data of the whole rendering.
    pub(super) root: Value,
    out: Output,
    tree: &'a Tree,
    at: (usize, At<'a>),
    variables: Vec<(&'a str, Value)>,
    depth: usize,
    steps: usize,
    work: usize,
    queries: usize,
    patterns: HashMap<Box<str>, Regex>,
}

struct Output {
    text: String,
    bytes_max: usize,
    html: Option<Html>,
}

/// What was looked at last, for errors.
#[derive(Clone, Copy)]
enum At<'a> {
    Nothing,
    Pipe(&'a Pipe),
    Command(&'a Command),
    Operand(&'a Operand),
    Template(&'a str, Option<&'a Pipe>),
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Nothing => Ok(()),
            At::Pipe(pipe) => write!(f, "{pipe}"),
            At::Command(command) => write!(f, "{command}"),
            At::Operand(operand) => write!(f, "{operand}"),
            At::Template(name, None) => write!(f, "{{{{template {name:?}}}}}"),
            At::Template(name, Some(data)) => write!(f, "{{{{template {name:?} {data}}}}}"),
        }
    }
}

/// How a list of nodes ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Through,
    Break,
    Continue,
}

impl<'a> Run<'a> {
    /// Renders a tree with data; `variables` are there from the begin.
    pub(super) fn render(
        set: &'a Set,
        tree: &'a Tree,
        data: Value,
        variables: Vec<(&'a str, Value)>,
        env: &'a Env<'a>,
    ) -> Result<String> {
        let mut run = Self {
            set,
            env,
            root: data.clone(),
            out: Output { text: String::new(), bytes_max: env.bytes_max, html: env.html.then(Html::default) },
            tree,
            at: (0, At::Nothing),
            variables: vec![("$", data.clone())],
            depth: 0,
            steps: 0,
            work: 0,
            queries: 0,
            patterns: HashMap::new(),
        };
        run.variables.extend(variables);
        run.nodes(&tree.body, &data)?;
        Ok(run.out.text)
    }

    /// How long a text a function may make.
    pub(super) fn bytes_max(&self) -> usize {
        self.env.bytes_max
    }

    fn error(&self, message: impl fmt::Display) -> Error {
        let (line, column) = self.tree.file.place(self.at.0);
        let mut words = self.at.1.to_string();
        if let Some((end, _)) = words.char_indices().nth(WORDS_MAX) {
            words.truncate(end);
            words.push_str("...");
        }
        let (file, name) = (&self.tree.file.name, &self.tree.name);
        Error::invalid(format!("template: {file}:{line}:{column}: executing {name:?} at <{words}>: {message}"))
    }

    fn look(&mut self, operand: &'a Operand) {
        self.at = (operand.at, At::Operand(operand));
    }

    fn step(&mut self) -> Result<()> {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return Err(self.error(format!("the template takes too many steps, steps_max={STEPS_MAX}")));
        }
        Ok(())
    }

    fn deeper<T>(&mut self, inside: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= DEPTH_MAX {
            return Err(self.error(format!("templates call each other too deep, levels_max={DEPTH_MAX}")));
        }
        self.depth += 1;
        let done = inside(self);
        self.depth -= 1;
        done
    }

    fn worked(&mut self, bytes: usize) -> Result<()> {
        self.work = self.work.saturating_add(bytes);
        let bytes_max = self.env.bytes_max.saturating_mul(WORK_FACTOR);
        if self.work > bytes_max {
            return Err(self.error(format!("the template makes too much, bytes_max={bytes_max}")));
        }
        Ok(())
    }

    /// The regular expression of a pattern, compiled once.
    pub(super) fn pattern(&mut self, written: &str) -> Result<Regex, Wrong> {
        if let Some(known) = self.patterns.get(written) {
            return Ok(known.clone());
        }
        self.worked(PATTERN_WORK)?;
        // Each may take less memory than the one before.
        let regex = text::compile(written, self.patterns.len() + 1)?;
        self.patterns.insert(written.into(), regex.clone());
        Ok(regex)
    }

    /// Asks for samples.
    pub(super) fn query(&mut self, query: &str) -> Result<Vec<Sample>> {
        self.queries += 1;
        if self.queries > QUERIES_MAX {
            return Err(Error::invalid(format!("too many queries in one template, queries_max={QUERIES_MAX}")));
        }
        match self.env.query {
            Some(ask) => ask(query),
            None => Err(Error::invalid("queries cannot be asked here")),
        }
    }

    fn write(&mut self, text: &str) -> Result<()> {
        if self.out.text.len() + text.len() > self.out.bytes_max {
            return Err(self.error(format!("the output is too long, bytes_max={}", self.out.bytes_max)));
        }
        self.out.text.push_str(text);
        Ok(())
    }

    /// Prints the value of an action.
    fn print(&mut self, value: &Value) -> Result<()> {
        let printed = match value {
            Value::Nil if self.out.html.is_some() => String::new(),
            Value::Nil => "<no value>".to_owned(),
            Value::Text(text) | Value::Html(text) => text.to_string(),
            _ => format::print(std::slice::from_ref(value), self.bytes_max()).map_err(|error| self.error(error))?,
        };
        let escaped = match &mut self.out.html {
            None => Ok(printed),
            Some(html) => html.escape(&printed, matches!(value, Value::Html(_))),
        };
        let escaped = escaped.map_err(|message| self.error(message))?;
        self.write(&escaped)
    }

    fn nodes(&mut self, nodes: &'a [Node], dot: &Value) -> Result<Flow> {
        self.deeper(|run| {
            let known = run.variables.len();
            let mut flow = Flow::Through;
            for node in nodes {
                flow = run.node(node, dot)?;
                if flow != Flow::Through {
                    break;
                }
            }
            if run.depth > 1 {
                run.variables.truncate(known);
            }
            Ok(flow)
        })
    }

    fn node(&mut self, node: &'a Node, dot: &Value) -> Result<Flow> {
        self.step()?;
        match node {
            Node::Text(text) => {
                if let Some(html) = &mut self.out.html {
                    html.pass(text);
                }
                self.write(text)?;
            }
            Node::Action(pipe) => {
                let value = self.pipe(pipe, dot)?;
                if pipe.variables.is_empty() {
                    self.at = (pipe.at, At::Pipe(pipe));
                    self.print(&value)?;
                }
            }
            Node::If(branch) => return self.branch(branch, dot, false),
            Node::With(branch) => return self.branch(branch, dot, true),
            Node::Range(branch) => return self.range(branch, dot),
            Node::Template { at, name, data } => {
                self.at = (*at, At::Template(name, data.as_ref()));
                let Some(tree) = self.set.tree(name) else {
                    return Err(self.error(format!("template {name:?} not defined")));
                };
                let data = match data {
                    Some(pipe) => self.pipe(pipe, dot)?,
                    None => Value::Nil,
                };
                let variables = std::mem::replace(&mut self.variables, vec![("$", data.clone())]);
                let outer = std::mem::replace(&mut self.tree, tree);
                self.nodes(&tree.body, &data)?;
                (self.variables, self.tree) = (variables, outer);
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Through)
    }

    fn branch(&mut self, branch: &'a Branch, dot: &Value, moves: bool) -> Result<Flow> {
        let known = self.variables.len();
        let value = self.pipe(&branch.pipe, dot)?;
        let flow = if value.is_true() {
            self.nodes(&branch.then, if moves { &value } else { dot })
        } else {
            branch.otherwise.as_ref().map_or(Ok(Flow::Through), |nodes| self.nodes(nodes, dot))
        };
        self.variables.truncate(known);
        flow
    }

    fn range(&mut self, branch: &'a Branch, dot: &Value) -> Result<Flow> {
        let known = self.variables.len();
        let value = self.pipe(&branch.pipe, dot)?;
        let items: Box<dyn Iterator<Item = (Value, Value)> + '_> = match &value {
            Value::Nil => Box::new(std::iter::empty()),
            Value::Int(count) if branch.pipe.variables.len() > 1 => {
                return Err(self.error(format!("can't use {count} to iterate over more than one variable")));
            }
            Value::Int(count) => Box::new((0..*count).map(|nth| (Value::Int(nth), Value::Int(nth)))),
            Value::List(list) => Box::new((0..).map(Value::Int).zip(list.items.iter().cloned())),
            Value::Map(map) => Box::new(map.items.iter().map(|(name, item)| (Value::text(&**name), item.clone()))),
            Value::Labels(labels) | Value::Kv(labels) => {
                Box::new(labels.iter().map(|(name, text)| (Value::text(name), Value::text(text))))
            }
            _ => {
                let printed = format::print(std::slice::from_ref(&value), 100).unwrap_or_default();
                return Err(self.error(format!("range can't iterate over {printed}")));
            }
        };
        let mut any = false;
        for (index, item) in items {
            any = true;
            self.step()?;
            self.loop_variables(&branch.pipe, known, index, &item);
            if self.nodes(&branch.then, &item)? == Flow::Break {
                break;
            }
        }
        let flow = match &branch.otherwise {
            // A `break` there belongs to the loop around.
            Some(nodes) if !any => self.nodes(nodes, dot)?,
            _ => Flow::Through,
        };
        self.variables.truncate(known);
        Ok(flow)
    }

    /// Gives a round's index and item to the variables of a loop; one variable takes the item.
    fn loop_variables(&mut self, pipe: &'a Pipe, known: usize, index: Value, item: &Value) {
        let values = match pipe.variables.len() {
            0 => return,
            1 => vec![item.clone()],
            _ => vec![index, item.clone()],
        };
        for (nth, (name, value)) in pipe.variables.iter().zip(values).enumerate() {
            if pipe.assigns {
                self.assign(name, value);
            } else if let Some(variable) = self.variables.get_mut(known + nth) {
                variable.1 = value;
            }
        }
    }

    fn assign(&mut self, name: &str, value: Value) {
        if let Some(variable) = self.variables.iter_mut().rev().find(|(known, _)| *known == name) {
            variable.1 = value;
        }
    }

    fn pipe(&mut self, pipe: &'a Pipe, dot: &Value) -> Result<Value> {
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
        match &first.term {
            Term::Field(names) => self.fields(first, dot.clone(), names, rest, dot, last),
            Term::Chain(operand, names) => {
                let receiver = self.operand(operand, dot)?;
                self.fields(first, receiver, names, rest, dot, last)
            }
            Term::Variable(name, names) if !names.is_empty() => {
                let receiver = self.variable(name);
                self.fields(first, receiver, names, rest, dot, last)
            }
            Term::Function(name) => self.function(first, At::Command(command), (name, rest), dot, last),
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
            Term::Field(names) => return self.fields(operand, dot.clone(), names, &[], dot, None),
            Term::Variable(name, names) => {
                let receiver = self.variable(name);
                return self.fields(operand, receiver, names, &[], dot, None);
            }
            Term::Function(name) => return self.function(operand, At::Operand(operand), (name, &[]), dot, None),
            Term::Pipe(pipe) => return self.pipe(pipe, dot),
            Term::Chain(first, names) => {
                let receiver = self.operand(first, dot)?;
                return self.fields(operand, receiver, names, &[], dot, None);
            }
        })
    }

    /// Follows names from a value; the last one may be a method that takes arguments.
    fn fields(
        &mut self,
        operand: &'a Operand,
        receiver: Value,
        names: &'a [Box<str>],
        rest: &'a [Operand],
        dot: &Value,
        last: Option<Value>,
    ) -> Result<Value> {
        let mut arguments = Vec::new();
        // After a parenthesis, Go's errors stay where it ended.
        if !matches!(operand.term, Term::Chain(..)) {
            self.look(operand);
        }
        let at = self.at;
        for argument in rest {
            arguments.push(self.operand(argument, dot)?);
        }
        arguments.extend(last);
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
                Err(Wrong::Field(_)) if of_map => return Err(self.wrong(name, Wrong::Field("interface {}"), rest)),
                Err(wrong) => return Err(self.wrong(name, wrong, rest)),
            };
            of_map = matches!(receiver, Value::Map(_));
        }
        self.worked(value.bytes())?;
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

    fn function(
        &mut self,
        operand: &'a Operand,
        command: At<'a>,
        (name, rest): (&'a str, &'a [Operand]),
        dot: &Value,
        last: Option<Value>,
    ) -> Result<Value> {
        self.look(operand);
        let Some((least, most)) = self.set.flavour().arity(name) else {
            return Err(self.error(format!("{name:?} is not a defined function")));
        };
        let count = rest.len() + usize::from(last.is_some());
        if count < least || count > most {
            let at_least = if most == usize::MAX { "at least " } else { "" };
            let want = if count < least { least } else { most };
            let message = format!("wrong number of args for {name}: want {at_least}{want} got {count}");
            return Err(self.error(message));
        }
        if matches!(name, "and" | "or") {
            return self.short(name == "and", rest, dot, last);
        }
        let mut values = Vec::with_capacity(count);
        for argument in rest {
            values.push(self.operand(argument, dot)?);
        }
        values.extend(last);
        self.worked(values.iter().map(Value::bytes).sum())?;
        let called = match (builtin::call(name, Args(&values), self.bytes_max()), self.set.flavour()) {
            (Some(called), _) => called,
            (None, Flavour::Rule) => rule::call(self, name, Args(&values)),
            (None, Flavour::Notification) => notification::call(self, name, Args(&values)),
        };
        let value = match called {
            Ok(value) => value,
            Err(wrong) => {
                self.at = (operand.at, command);
                return Err(self.wrong(name, wrong, rest));
            }
        };
        self.worked(value.bytes())?;
        Ok(value)
    }

    /// `and` and `or`: the first value that decides; what comes after it is not evaluated.
    fn short(&mut self, and: bool, rest: &'a [Operand], dot: &Value, last: Option<Value>) -> Result<Value> {
        let mut value = Value::Nil;
        for argument in rest {
            value = self.operand(argument, dot)?;
            if value.is_true() != and {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }
}
