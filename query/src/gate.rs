//! Lets exactly one read-only statement through.
//!
//! Called by the engine before anything else is done with a text; hands on the parsed statement. What passes is `SELECT`,
//! `WITH`, `VALUES`, `SHOW TABLES`, `SHOW COLUMNS`, `DESCRIBE` and `EXPLAIN` of those, over tables by name. It is the first of two
//! lines: the plan is checked again, and the session knows no file system, no file format and no other store.
//!
//! Invariants: a list of what is allowed, so a statement a future parser learns is refused until someone adds it here.
//! Deep nesting is refused before anything recurses: a chain like `1+1+1+…` is parsed without recursion, but walking and
//! freeing the tree is not, and a full stack would end the process.

mod arrows;

use std::ops::ControlFlow;

use datafusion::sql::{
    parser::{DFParserBuilder, Statement},
    sqlparser::{
        ast::{
            BinaryOperator, Expr, ObjectName, Query, Select, SetExpr, Statement as Sql, TableFactor, Visit, Visitor,
        },
        dialect::GenericDialect,
        keywords::Keyword,
        tokenizer::{Token, TokenWithSpan, Tokenizer},
    },
};

use crate::{Error, ErrorKind, Fault, Position, Result, calls, system, system::headings::Headings};

/// Longest text, bytes. The longest sensible query is a list of ten thousand ids: a fifth of this.
pub(crate) const TEXT_BYTES_MAX: usize = 1 << 20;
/// Operators that may follow each other. Each can deepen the tree by one level, and a level costs up to half a kilobyte of a
/// stack of 2 MiB while it is read. Lists (`IN (…)`, `VALUES`) are not counted, since they do not nest.
const OPERATORS_MAX: usize = 1_000;
/// Those among them that compute. Each is a call once decimals are met, and planning a chain of calls takes time by the third power of its
/// length, since each level asks for the names of all below: a second for these.
const ARITHMETIC_MAX: usize = 200;
/// Tables in one query; each join is a level of the plan, and plans of machines seldom have twenty.
const TABLES_MAX: usize = 64;
/// Functions that may be called as tables: those make numbers, these ask in PromQL. None reads what is no table of ours.
const TABLE_FUNCTIONS: [&str; 4] = ["generate_series", "range", calls::NAMES[0], calls::NAMES[1]];
/// Brackets in brackets; above the parser's default of 50, which generated queries reach.
const NESTING_MAX: usize = 100;

/// Parses a text and lets it pass if it only reads.
pub(crate) fn check(text: &str) -> Result<Statement> {
    with_headings(text).map(|(statement, _)| statement)
}

/// The same, with what PostgreSQL would call the columns of the answer.
pub(crate) fn with_headings(text: &str) -> Result<(Statement, Headings)> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("query is too long bytes={} bytes_max={TEXT_BYTES_MAX}", text.len());
        return Err(refused(message).of(Fault::TooLarge));
    }
    let dialect = GenericDialect {};
    let tokens = Tokenizer::new(&dialect, text).tokenize_with_location().map_err(|error| {
        let position = Position { line: error.location.line, column: error.location.column };
        refused(format!("not valid SQL: {}", error.message)).of(Fault::Syntax).at(Some(position))
    })?;
    check_depth(&tokens)?;
    let mut tokens = arrows::subscripts(tokens);
    number_places(&mut tokens)?;
    let mut parser = DFParserBuilder::new(tokens).with_dialect(&dialect).with_recursion_limit(NESTING_MAX).build()?;
    let mut statements = parser.parse_statements()?;
    let Some(mut statement) = statements.pop_front() else {
        return Err(refused("query is empty: send one SELECT statement").of(Fault::Syntax));
    };
    if !statements.is_empty() {
        let message = format!("one statement at a time statements={}", statements.len() + 1);
        return Err(refused(message).of(Fault::Syntax));
    }
    // What clients of PostgreSQL write otherwise is in our dialect before anything of it is let pass.
    let headings = Headings::of(&statement);
    system::translate(&mut statement);
    check_statement(&statement)?;
    Ok((statement, headings))
}

/// Makes `$1`, `$2`, … of `?`, as drivers of ODBC and JDBC write places, in the order of the text.
fn number_places(tokens: &mut [TokenWithSpan]) -> Result<()> {
    let (mut places, mut has_names) = (0, false);
    for token in tokens {
        match &mut token.token {
            Token::Placeholder(name) if name == "?" => {
                places += 1;
                *name = format!("${places}");
            }
            Token::Placeholder(_) => has_names = true,
            _ => {}
        }
    }
    if places > 0 && has_names {
        return Err(refused("parameters are written ?, ?, … or $1, $2, …, not both ways in one query"));
    }
    Ok(())
}

fn check_depth(tokens: &[TokenWithSpan]) -> Result<()> {
    let (mut operators, mut arithmetic) = (0, 0);
    let mut starts_element = true;
    for token in tokens.iter().map(|t| &t.token).filter(|t| !matches!(t, Token::Whitespace(_))) {
        // The first token of a list's element, such as the sign of a number, begins a tree and does not deepen one.
        operators += usize::from(!starts_element && deepens(token));
        let computes = matches!(token, Token::Plus | Token::Minus | Token::Mul | Token::Div | Token::Mod);
        arithmetic += usize::from(!starts_element && computes);
        starts_element = matches!(token, Token::Comma | Token::LParen);
    }
    if arithmetic > ARITHMETIC_MAX {
        let message = "query has too many of + - * / %; sum() adds up columns of VALUES";
        let message = format!("{message} operators={arithmetic} operators_max={ARITHMETIC_MAX}");
        return Err(refused(message).of(Fault::TooLarge));
    }
    if operators <= OPERATORS_MAX {
        return Ok(());
    }
    let message = "query has too many operators; write a long chain of OR as IN (…)";
    let message = format!("{message} operators={operators} operators_max={OPERATORS_MAX}");
    Err(refused(message).of(Fault::TooLarge))
}

/// May this token stand in a chain that makes the tree deeper?
fn deepens(token: &Token) -> bool {
    match token {
        Token::Word(word) => !matches!(word.keyword, Keyword::NoKeyword),
        Token::Comma
        | Token::LParen
        | Token::RParen
        | Token::RBracket
        | Token::Period
        | Token::SemiColon
        | Token::EOF
        | Token::Whitespace(_)
        | Token::Number(..)
        | Token::Char(_)
        | Token::SingleQuotedString(_)
        | Token::DoubleQuotedString(_) => false,
        _ => true,
    }
}

fn check_statement(statement: &Statement) -> Result<()> {
    match statement {
        Statement::Statement(sql) => check_sql(sql),
        Statement::Explain(explain) => check_statement(&explain.statement),
        Statement::CreateExternalTable(_) => Err(read_only("CREATE EXTERNAL TABLE")),
        Statement::CopyTo(_) => Err(read_only("COPY")),
        Statement::Reset(_) => Err(read_only("RESET")),
    }
}

fn check_sql(sql: &Sql) -> Result<()> {
    match sql {
        Sql::Query(_) | Sql::ShowTables { .. } | Sql::ShowColumns { .. } | Sql::ExplainTable { .. } => {}
        Sql::Explain { statement, .. } => return check_sql(statement),
        Sql::ShowVariable { .. } => return Err(hidden_settings()),
        other => {
            let text = other.to_string();
            let words: Vec<&str> = text.split_whitespace().take(2).collect();
            return Err(read_only(&words.join(" ")));
        }
    }
    match sql.visit(&mut OnlyReads { tables: 0 }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Looks for what a query must not have in it, at any depth.
struct OnlyReads {
    tables: usize,
}

impl Visitor for OnlyReads {
    type Break = Error;

    fn pre_visit_statement(&mut self, statement: &Sql) -> ControlFlow<Error> {
        match statement {
            Sql::Query(_) | Sql::ShowTables { .. } | Sql::ShowColumns { .. } | Sql::ExplainTable { .. } => {
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Break(read_only("a statement that writes")),
        }
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        if !query.locks.is_empty() {
            return ControlFlow::Break(read_only("FOR UPDATE and FOR SHARE"));
        }
        match query.body.as_ref() {
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                ControlFlow::Break(read_only("a query that writes"))
            }
            // The parser keeps its name as text, which the checks of names below would not see.
            SetExpr::Table(_) => {
                ControlFlow::Break(refused("write SELECT * FROM … instead of TABLE …").of(Fault::NotSupported))
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Error> {
        match select.into {
            Some(_) => ControlFlow::Break(read_only("SELECT INTO")),
            None => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<Error> {
        if let TableFactor::Table { name, args: Some(_), .. } = table
            && !TABLE_FUNCTIONS.iter().any(|known| name.to_string().eq_ignore_ascii_case(known))
        {
            let known = TABLE_FUNCTIONS.join(", ");
            let message = format!("no such table function; there are {known} name={name}");
            return ControlFlow::Break(refused(message).of(Fault::UnknownFunction));
        }
        self.tables += 1;
        if self.tables > TABLES_MAX {
            let message = format!("query names too many tables tables_max={TABLES_MAX}");
            return ControlFlow::Break(refused(message).of(Fault::TooLarge));
        }
        ControlFlow::Continue(())
    }

    /// A power to who knows PostgreSQL, and bits to the planner, which would give a number without a word.
    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        match expr {
            Expr::BinaryOp { op: BinaryOperator::BitwiseXor, .. } => {
                ControlFlow::Break(refused("^ is a power in some dialects and bits in others: write power(a, b)"))
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<Error> {
        let parts: Vec<&str> = name.0.iter().filter_map(|p| p.as_ident()).map(|i| i.value.as_str()).collect();
        if parts.iter().any(|part| part.contains(['/', '\\', ':', '*'])) {
            return ControlFlow::Break(refused(format!(
                "files and URLs cannot be queried, only tables; SHOW TABLES lists them table={name}"
            )));
        }
        if parts.last().is_some_and(|part| part.eq_ignore_ascii_case("df_settings")) {
            return ControlFlow::Break(hidden_settings());
        }
        ControlFlow::Continue(())
    }
}

fn read_only(what: &str) -> Error {
    let message = format!("queries only read: {what} is refused; send SELECT, SHOW TABLES, DESCRIBE or EXPLAIN");
    refused(message).of(Fault::ReadOnly)
}

fn hidden_settings() -> Error {
    refused("settings are not shown to queries").of(Fault::NotSupported)
}

fn refused(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests;
