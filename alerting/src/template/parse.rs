//! Reads the text of a template into trees: its own and those it defines.
//!
//! Called by `Set::parse`. What is wrong is said as Go says it, with the name and the line. Depth is bounded, so that a hostile text can
//! exhaust no stack here nor where the tree is walked.

use std::sync::Arc;

use super::{
    ast::{Branch, Command, File, Node, Operand, Pipe, Term, Tree},
    lex::{Kind, Lexer, Token},
    literal,
};
use crate::{Error, Result};

/// How deep actions and parentheses may nest. The deepest of some thousand templates in use nests five; the walk of a tree takes about 2 KiB
/// of stack for each level.
const DEPTH_MAX: usize = 64;
/// Variables in sight of each other, and templates of one text: they are found by looking at all. The most in use are some dozens.
const NAMES_MAX: usize = 1000;

/// Reads a text. `knows` says which functions there are.
pub(super) fn parse(name: &str, text: &str, variables: &[&str], knows: &dyn Fn(&str) -> bool) -> Result<Vec<Tree>> {
    let file = Arc::new(File { name: name.into(), text: text.into() });
    let mut parser = Parser {
        file: Arc::clone(&file),
        lexer: Lexer::new(text),
        ahead: Vec::new(),
        at: 0,
        variables: Vec::new(),
        ranges: 0,
        depth: 0,
        trees: Vec::new(),
        knows,
    };
    parser.variables.push("$".into());
    parser.variables.extend(variables.iter().map(|name| (*name).into()));
    let body = parser.top()?;
    let tree = Tree { name: name.into(), file, body };
    parser.add(tree)?;
    Ok(parser.trees)
}

struct Parser<'t> {
    file: Arc<File>,
    lexer: Lexer<'t>,
    /// Tokens that were given back, the next one last.
    ahead: Vec<Token>,
    /// Where the last token begins.
    at: usize,
    variables: Vec<Box<str>>,
    /// Of how many `range` this is inside.
    ranges: usize,
    depth: usize,
    trees: Vec<Tree>,
    knows: &'t dyn Fn(&str) -> bool,
}

/// What ended a list of nodes.
enum Ended {
    End,
    /// The rest of its action is not read yet.
    Else,
}

impl Parser<'_> {
    fn error(&self, message: impl AsRef<str>) -> Error {
        let (line, _) = self.file.place(self.at);
        Error::invalid(format!("template: {}:{line}: {}", self.file.name, message.as_ref()))
    }

    fn unexpected(&self, token: &Token, context: &str) -> Error {
        let text = &token.text;
        match token.kind {
            Kind::Error => self.error(text),
            Kind::End => self.error(format!("unexpected EOF in {context}")),
            Kind::Keyword | Kind::Dot | Kind::Nil => self.error(format!("unexpected <{text}> in {context}")),
            _ if text.chars().count() > 10 => {
                let begin: String = text.chars().take(10).collect();
                self.error(format!("unexpected {begin:?}... in {context}"))
            }
            _ => self.error(format!("unexpected {text:?} in {context}")),
        }
    }

    fn next(&mut self) -> Token {
        let token = self.ahead.pop().unwrap_or_else(|| self.lexer.next());
        self.at = token.at;
        token
    }

    fn next_word(&mut self) -> Token {
        loop {
            let token = self.next();
            if token.kind != Kind::Space {
                return token;
            }
        }
    }

    fn back(&mut self, token: Token) {
        self.ahead.push(token);
    }

    fn peek(&mut self) -> Kind {
        let token = self.next();
        let kind = token.kind;
        self.back(token);
        kind
    }

    fn peek_word(&mut self) -> Kind {
        let token = self.next_word();
        let kind = token.kind;
        self.back(token);
        kind
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Result<Token> {
        let token = self.next_word();
        if token.kind == kind { Ok(token) } else { Err(self.unexpected(&token, context)) }
    }

    /// Goes one level deeper for as long as `inside` takes.
    fn deeper<T>(&mut self, inside: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= DEPTH_MAX {
            return Err(self.error(format!("actions nest too deep, levels_max={DEPTH_MAX}")));
        }
        self.depth += 1;
        let done = inside(self);
        self.depth -= 1;
        done
    }

    /// Puts a tree where it belongs: of two in one text, one has to be empty.
    fn add(&mut self, tree: Tree) -> Result<()> {
        let count = self.trees.len();
        match self.trees.iter_mut().find(|known| known.name == tree.name) {
            None if count >= NAMES_MAX => {
                return Err(self.error(format!("too many templates in one text, templates_max={NAMES_MAX}")));
            }
            None => self.trees.push(tree),
            Some(known) if known.is_empty() => *known = tree,
            Some(_) if tree.is_empty() => {}
            Some(_) => return Err(self.error(format!("template: multiple definition of template {:?}", tree.name))),
        }
        Ok(())
    }

    fn top(&mut self) -> Result<Vec<Node>> {
        let mut nodes = Vec::new();
        loop {
            let token = self.next();
            match token.kind {
                Kind::End => return Ok(nodes),
                Kind::Left => {
                    let word = self.next_word();
                    if word.kind == Kind::Keyword && &*word.text == "define" {
                        self.definition()?;
                        continue;
                    }
                    if word.kind == Kind::Keyword && matches!(&*word.text, "end" | "else") {
                        return Err(self.error(format!("unexpected {{{{{}}}}}", word.text)));
                    }
                    self.back(word);
                    nodes.push(self.action()?);
                }
                Kind::Text => nodes.push(Node::Text(token.text)),
                _ => return Err(self.unexpected(&token, "input")),
            }
        }
    }

    /// Nodes up to `end` or `else`.
    fn nodes(&mut self) -> Result<(Vec<Node>, Ended)> {
        self.deeper(|parser| {
            let mut nodes = Vec::new();
            loop {
                let token = parser.next();
                match token.kind {
                    Kind::Text => nodes.push(Node::Text(token.text)),
                    Kind::Left => {
                        let word = parser.next_word();
                        match (&*word.text, word.kind) {
                            ("end", Kind::Keyword) => {
                                parser.expect(Kind::Right, "end")?;
                                return Ok((nodes, Ended::End));
                            }
                            ("else", Kind::Keyword) => return Ok((nodes, Ended::Else)),
                            _ => {
                                parser.back(word);
                                nodes.push(parser.action()?);
                            }
                        }
                    }
                    Kind::End => return Err(parser.error("unexpected EOF")),
                    _ => return Err(parser.unexpected(&token, "input")),
                }
            }
        })
    }

    /// Nodes that only `end` may end.
    fn body(&mut self, context: &str) -> Result<Vec<Node>> {
        match self.nodes()? {
            (nodes, Ended::End) => Ok(nodes),
            (_, Ended::Else) => Err(self.error(format!("unexpected {{{{else}}}} in {context}"))),
        }
    }

    /// A template inside of this text, with variables of its own.
    fn inner(&mut self, name: &str, context: &str) -> Result<()> {
        let outer = (std::mem::replace(&mut self.variables, vec!["$".into()]), std::mem::take(&mut self.ranges));
        let body = self.body(context)?;
        (self.variables, self.ranges) = outer;
        self.add(Tree { name: name.into(), file: Arc::clone(&self.file), body })
    }

    fn template_name(&mut self, context: &str) -> Result<Box<str>> {
        let token = self.next_word();
        if !matches!(token.kind, Kind::Quoted | Kind::Raw) {
            return Err(self.unexpected(&token, context));
        }
        literal::text(&token.text).map(Into::into).ok_or_else(|| self.error("invalid syntax"))
    }

    fn definition(&mut self) -> Result<()> {
        let name = self.template_name("define clause")?;
        self.expect(Kind::Right, "define clause")?;
        self.inner(&name, "define clause")
    }

    /// What stands after a `{{`.
    fn action(&mut self) -> Result<Node> {
        let word = self.next_word();
        if word.kind != Kind::Keyword {
            self.back(word);
            return Ok(Node::Action(self.pipeline("command", Kind::Right)?));
        }
        match &*word.text {
            "if" => Ok(Node::If(self.branch("if")?)),
            "with" => Ok(Node::With(self.branch("with")?)),
            "range" => Ok(Node::Range(self.branch("range")?)),
            "template" => {
                let name = self.template_name("template clause")?;
                let at = self.at;
                let data = if self.peek_word() == Kind::Right {
                    self.next_word();
                    None
                } else {
                    Some(self.pipeline("template clause", Kind::Right)?)
                };
                Ok(Node::Template { at, name, data })
            }
            "block" => {
                let name = self.template_name("block clause")?;
                let data = self.pipeline("block clause", Kind::Right)?;
                self.inner(&name, "block clause")?;
                Ok(Node::Template { at: word.at, name, data: Some(data) })
            }
            jump @ ("break" | "continue") => {
                let token = self.next_word();
                if token.kind != Kind::Right {
                    return Err(self.unexpected(&token, &format!("{{{{{jump}}}}}")));
                }
                if self.ranges == 0 {
                    return Err(self.error(format!("{{{{{jump}}}}} outside {{{{range}}}}")));
                }
                Ok(if jump == "break" { Node::Break } else { Node::Continue })
            }
            _ => Err(self.unexpected(&word, "command")),
        }
    }

    fn branch(&mut self, context: &str) -> Result<Branch> {
        let known = self.variables.len();
        let pipe = self.pipeline(context, Kind::Right)?;
        let is_range = usize::from(context == "range");
        self.ranges += is_range;
        let (then, ended) = self.nodes()?;
        self.ranges -= is_range;
        let otherwise = match ended {
            Ended::End => None,
            Ended::Else => Some(self.otherwise(context)?),
        };
        self.variables.truncate(known);
        Ok(Branch { pipe, then, otherwise })
    }

    fn otherwise(&mut self, context: &str) -> Result<Vec<Node>> {
        let word = self.next_word();
        match (&*word.text, context) {
            // Its `end` is ours.
            ("if", "if") => self.deeper(|parser| Ok(vec![Node::If(parser.branch("if")?)])),
            ("with", "with") => self.deeper(|parser| Ok(vec![Node::With(parser.branch("with")?)])),
            _ if word.kind == Kind::Right => match self.nodes()? {
                (nodes, Ended::End) => Ok(nodes),
                (_, Ended::Else) => Err(self.error("expected end; found {{else}}")),
            },
            _ => Err(self.unexpected(&word, "input")),
        }
    }

    fn pipeline(&mut self, context: &str, end: Kind) -> Result<Pipe> {
        self.deeper(|parser| {
            let at = parser.at;
            let (variables, assigns) = parser.variables_of(context)?;
            let mut commands = Vec::new();
            loop {
                let token = parser.next_word();
                match token.kind {
                    kind if kind == end => {
                        parser.check(&commands, context)?;
                        let at = commands.first().and_then(|c: &Command| c.operands.first()).map_or(at, |o| o.at);
                        return Ok(Pipe { at, variables, assigns, commands });
                    }
                    Kind::Bool
                    | Kind::Char
                    | Kind::Dot
                    | Kind::Field
                    | Kind::Identifier
                    | Kind::Number
                    | Kind::Nil
                    | Kind::Raw
                    | Kind::Quoted
                    | Kind::Variable
                    | Kind::Open => {
                        parser.back(token);
                        commands.push(parser.command()?);
                    }
                    _ => return Err(parser.unexpected(&token, context)),
                }
            }
        })
    }

    /// The variables a pipeline begins with, and whether they are assigned to.
    fn variables_of(&mut self, context: &str) -> Result<(Vec<Box<str>>, bool)> {
        let mut names: Vec<Box<str>> = Vec::new();
        loop {
            let token = self.next_word();
            if token.kind != Kind::Variable {
                self.back(token);
                return Ok((names, false));
            }
            let after = self.next();
            let is_space = after.kind == Kind::Space;
            let sign = if is_space { self.next_word() } else { after.clone() };
            match sign.kind {
                Kind::Declare | Kind::Assign => {
                    let assigns = sign.kind == Kind::Assign;
                    names.push(token.text);
                    if assigns {
                        names.iter().try_for_each(|name| self.known(name))?;
                    } else {
                        self.variables.extend(names.iter().cloned());
                        if self.variables.len() > NAMES_MAX {
                            return Err(self.error(format!("too many variables, variables_max={NAMES_MAX}")));
                        }
                    }
                    return Ok((names, assigns));
                }
                Kind::Comma if context == "range" && names.is_empty() => {
                    names.push(token.text);
                    if !matches!(self.peek_word(), Kind::Variable | Kind::Right | Kind::Close) {
                        return Err(self.error("range can only initialize variables"));
                    }
                }
                Kind::Comma => return Err(self.error(format!("too many declarations in {context}"))),
                _ => {
                    self.back(sign);
                    if is_space {
                        self.back(after);
                    }
                    self.back(token);
                    return Ok((names, false));
                }
            }
        }
    }

    fn check(&self, commands: &[Command], context: &str) -> Result<()> {
        if commands.is_empty() {
            return Err(self.error(format!("missing value for {context}")));
        }
        for (nth, command) in commands.iter().enumerate().skip(1) {
            if let Some(Term::Bool(_) | Term::Dot | Term::Nil | Term::Number(_) | Term::Text { .. }) =
                command.operands.first().map(|operand| &operand.term)
            {
                return Err(self.error(format!("non executable command in pipeline stage {}", nth + 1)));
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Result<Command> {
        let mut operands = Vec::new();
        loop {
            self.peek_word();
            while self.peek() == Kind::Space {
                self.next();
            }
            operands.extend(self.operand()?);
            let token = self.next();
            match token.kind {
                Kind::Space => continue,
                Kind::Right | Kind::Close => self.back(token),
                Kind::Pipe => {}
                _ => return Err(self.unexpected(&token, "operand")),
            }
            if operands.is_empty() {
                return Err(self.error("empty command"));
            }
            return Ok(Command { operands });
        }
    }

    fn operand(&mut self) -> Result<Option<Operand>> {
        let Some(mut operand) = self.term()? else { return Ok(None) };
        if self.peek() != Kind::Field {
            return Ok(Some(operand));
        }
        // Go counts such a chain from its second part.
        operand.at = self.at;
        let mut names: Vec<Box<str>> = Vec::new();
        while self.peek() == Kind::Field {
            names.push(self.next().text[1..].into());
        }
        match &mut operand.term {
            Term::Field(first) | Term::Variable(_, first) => first.append(&mut names),
            Term::Bool(_) | Term::Text { .. } | Term::Number(_) | Term::Nil | Term::Dot => {
                return Err(self.error(format!("unexpected . after term {:?}", operand.to_string())));
            }
            _ => operand = Operand { at: operand.at, term: Term::Chain(Box::new(operand), names) },
        }
        Ok(Some(operand))
    }

    fn known(&self, variable: &str) -> Result<()> {
        if self.variables.iter().any(|known| &**known == variable) {
            return Ok(());
        }
        Err(self.error(format!("undefined variable {variable:?}")))
    }

    fn term(&mut self) -> Result<Option<Operand>> {
        let token = self.next_word();
        let text = &*token.text;
        let term = match token.kind {
            Kind::Identifier if (self.knows)(text) => Term::Function(text.into()),
            Kind::Identifier => return Err(self.error(format!("function {text:?} not defined"))),
            Kind::Dot => Term::Dot,
            Kind::Nil => Term::Nil,
            Kind::Variable => {
                self.known(text)?;
                Term::Variable(text.into(), Vec::new())
            }
            Kind::Field => Term::Field(vec![text[1..].into()]),
            Kind::Bool => Term::Bool(text == "true"),
            Kind::Char | Kind::Number => Term::Number(literal::number(text).map_err(|message| self.error(message))?),
            Kind::Open => Term::Pipe(self.pipeline("parenthesized pipeline", Kind::Close)?),
            Kind::Quoted | Kind::Raw => match literal::text(text) {
                Some(value) => Term::Text { written: text.into(), text: value.into() },
                None => return Err(self.error("invalid syntax")),
            },
            _ => {
                self.back(token);
                return Ok(None);
            }
        };
        Ok(Some(Operand { at: token.at, term }))
    }
}
