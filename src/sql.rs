//! The `sql` command: asks a running server, or reads a data folder by itself, and prints the rows.
//!
//! Called by `cli`. A statement of the command line or of stdin is answered, and that is all; at a terminal, `shell` takes one after
//! the other. Both ways print the same: a server writes with the code that is used here for a folder; tables are laid out here always.
//! Not here: SQL (`query`), opening a data folder (`folder`).

mod ask;
mod commands;
mod complete;
mod history;
mod layout;
mod output;
mod shell;
mod statement;
mod terminal;

use std::io::{self, IsTerminal, Read, Write};

use anyhow::{Context, Result, anyhow, ensure};
use arrow::ipc::reader::StreamReader;
use clap::Args;
use futures::TryStreamExt;
use query::{
    Answer,
    format::{Encoder, table},
};

use crate::{
    cli::{self, Format},
    client::{Client, Refused},
    folder::{Folder, told},
};

/// Longest statement that is read from stdin.
const STATEMENT_BYTES_MAX: u64 = 1 << 20;
/// Longest answer that is taken from a server. Its row limit is the real one; this guards against what is no Streamgauge.
const ANSWER_BYTES_MAX: u64 = 64 << 30;

/// Options of `streamgauge sql`.
#[derive(Debug, Args)]
pub struct Sql {
    /// The statement, or `-` to read it from stdin [default: a shell at a terminal, otherwise `-`].
    statement: Option<String>,
    /// The statement, as for psql.
    #[arg(short = 'c', long, value_name = "STATEMENT", conflicts_with = "statement")]
    command: Option<String>,
    #[command(flatten)]
    way: Way,
}

/// Whom to ask, and how the answer is printed.
#[derive(Debug, Args)]
pub struct Way {
    #[command(flatten)]
    folder: Folder,
    /// How rows are printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    client: Client,
}

impl Sql {
    /// Asks and prints.
    ///
    /// # Errors
    /// Why there is no answer; what the server said, in its words.
    pub fn run(self) -> Result<()> {
        let is_said = self.statement.is_some() || self.command.is_some();
        if !is_said && io::stdin().is_terminal() && io::stdout().is_terminal() {
            return shell::run(self.way);
        }
        let statement = self.statement()?;
        self.way.run(&statement).map_err(|error| match error.is::<Refused>() || error.is::<query::Error>() {
            true => anyhow!(ask::told_of(&error, &statement)),
            false => error,
        })
    }

    fn statement(&self) -> Result<String> {
        let said = self.command.as_ref().or(self.statement.as_ref());
        if let Some(statement) = said.filter(|statement| *statement != "-") {
            return Ok(statement.clone());
        }
        let mut text = String::new();
        let bytes = io::stdin().take(STATEMENT_BYTES_MAX + 1).read_to_string(&mut text)?;
        ensure!(
            u64::try_from(bytes)? <= STATEMENT_BYTES_MAX,
            "the statement is longer than {STATEMENT_BYTES_MAX} bytes"
        );
        Ok(text)
    }
}

impl Way {
    /// Asks and prints.
    ///
    /// # Errors
    /// Why there is no answer; what the server said, in its words.
    pub fn run(&self, statement: &str) -> Result<()> {
        if self.folder.is_given() { cli::runtime()?.block_on(self.read(statement)) } else { self.ask(statement) }
    }

    /// Who is asked, for people.
    fn asked(&self) -> Result<String> {
        match self.folder.data_dir() {
            Some(folder) => Ok(format!("reading {}", folder.display())),
            None => Ok(format!("asking {}", self.client.base()?)),
        }
    }

    async fn read(&self, statement: &str) -> Result<()> {
        let answer = self.folder.engine().await?.sql(statement).await?;
        print(answer, self.format).await
    }

    fn ask(&self, statement: &str) -> Result<()> {
        let format = match self.format {
            Format::Table => "arrow",
            Format::Csv => "csv",
            Format::Json => "json",
            Format::Ndjson => "ndjson",
        };
        let question = serde_json::json!({"query": statement, "format": format});
        let request = self.client.post("/api/v1/sql")?.header("Content-Type", "application/json");
        let body = self.client.answered(request.send(question.to_string()))?;
        let mut body = body.into_with_config().limit(ANSWER_BYTES_MAX).reader();
        let mut out = terminal::stdout();
        if self.format == Format::Table {
            let reader = StreamReader::try_new(body, None).context("the server's answer is no Arrow stream")?;
            let schema = reader.schema();
            let batches = reader.collect::<Result<Vec<_>, _>>().context("the answer broke off")?;
            writeln!(out, "{}", table(&schema, &batches).map_err(told)?)?;
        } else {
            io::copy(&mut body, &mut out).context("the answer broke off")?;
        }
        Ok(out.flush()?)
    }
}

/// Prints rows as they come; a table when all are there, since its columns are as wide as the widest value.
async fn print(answer: Answer, format: Format) -> Result<()> {
    let Answer { schema, mut stream } = answer;
    let mut out = terminal::stdout();
    let format = match format {
        Format::Csv => query::format::Format::Csv,
        Format::Json => query::format::Format::Json,
        Format::Ndjson => query::format::Format::Ndjson,
        Format::Table => {
            let mut batches = Vec::new();
            while let Some(batch) = stream.try_next().await.map_err(|error| told(error.into()))? {
                batches.push(batch);
            }
            return Ok(writeln!(out, "{}", table(&schema, &batches).map_err(told)?)?);
        }
    };
    let (mut encoder, begun) = Encoder::begin(format, &schema).map_err(told)?;
    out.write_all(&begun)?;
    while let Some(batch) = stream.try_next().await.map_err(|error| told(error.into()))? {
        out.write_all(&encoder.rows(&batch).map_err(told)?)?;
    }
    out.write_all(&encoder.finish().map_err(told)?)?;
    Ok(out.flush()?)
}
