//! Renders a tree: walks it with data and prints.
//!
//! Called by `Set`. Everything a hostile template could ask for is bounded: steps, levels, bytes printed and bytes made on the way, calls of
//! `query`. What fails names the file, the line, the column and the words, as Go does.

mod evaluate;

use std::fmt;

use hashbrown::HashMap;
use regex::Regex;

use super::{
    Env, Set,
    args::Wrong,
    ast::{Branch, Command, Node, Operand, Pipe, Tree},
    format,
    html::Html,
    text,
    value::{Sample, Value},
};
use crate::{Error, Result};

/// Nodes walked and rounds of loops in one rendering: loops over integers, and templates that call each other twice, cost time and no
/// bytes. A notification about a thousand alerts walks some fifty thousand.
const STEPS_MAX: usize = 1_000_000;
/// Levels of blocks, parentheses and templates within each other, each some 2 KiB of stack.
const DEPTH_MAX: usize = 200;
/// Bytes that functions read and make, as a multiple of the bytes that may be printed: a template may build its output in parts and look
/// at it many times, and not fill the memory. 64 MiB of text take less than a second.
const WORK_FACTOR: usize = 64;
/// What compiling a pattern counts as: the least memory it may take, so that some 1,000 different ones can be in a template.
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
}
