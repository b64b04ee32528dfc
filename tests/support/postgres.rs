//! PostgreSQL's protocol: connections of tokio-postgres, and PostgreSQL's own server where it is installed.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tokio_postgres::{Client, Error, NoTls, SimpleQueryMessage, types::Type};

use super::server::Server;

/// What installs PostgreSQL's server.
pub const INSTALL: &str = "apt-get install -y postgresql-15";

/// A server that speaks the protocol, with settings; and its port.
pub fn started(folder: &Path, args: &[&str]) -> (Server, String) {
    let mut server = Server::start(folder, &[&["--pg-listen", "127.0.0.1:0"], args].concat());
    let listening = server.event("PostgreSQL protocol: listening");
    let address = listening["address"].as_str().expect("an address");
    let port = address.rsplit(':').next().expect("a port").to_owned();
    (server, port)
}

/// A connection, which is looked after as long as the runtime lives.
pub async fn connect(settings: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(settings, NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

/// What is told: columns with their types, and rows as text.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub columns: Vec<(String, Type)>,
    pub rows: Vec<Vec<Option<String>>>,
}

/// Asks one statement twice: prepared, for the types of its columns, and as text, for its rows.
pub async fn ask(client: &Client, sql: &str) -> Result<Told, Error> {
    let statement = client.prepare(sql).await?;
    let columns = statement.columns().iter().map(|column| (column.name().to_owned(), column.type_().clone())).collect();
    let mut rows = Vec::new();
    for message in client.simple_query(sql).await? {
        if let SimpleQueryMessage::Row(row) = message {
            rows.push((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect());
        }
    }
    Ok(Told { columns, rows })
}

/// PostgreSQL's own server over a folder of its own, reached through a socket in it. Stopped when it is dropped.
pub struct Postgres {
    programs: PathBuf,
    data: PathBuf,
    is_root: bool,
}

impl Postgres {
    /// Starts version 15, with a database `streamgauge` of a user of this name; none if it is not installed.
    pub fn start(folder: &Path) -> Option<Self> {
        let programs = Some(PathBuf::from("/usr/lib/postgresql/15/bin"));
        let programs = programs.filter(|programs| programs.join("initdb").is_file())?;
        let data = folder.join("postgres");
        fs::create_dir(&data).expect("a folder");
        // It refuses to run as root.
        let is_root = fs::metadata(&data).expect("a folder").uid() == 0;
        if is_root {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("permissions");
            assert!(Command::new("chown").arg("postgres").arg(&data).status().expect("chown runs").success());
        }
        let server = Self { programs, data, is_root };
        let data = server.data.display().to_string();
        server.run("initdb", &["-D", &data, "-U", "streamgauge", "-A", "trust", "-E", "UTF8", "--locale=C"]);
        let settings =
            format!("-c listen_addresses= -c unix_socket_directories={data} -c timezone=UTC -c search_path=public");
        let log = format!("{data}/log");
        server.run("pg_ctl", &["-D", &data, "-w", "-l", &log, "-o", &settings, "start"]);
        server.run("createdb", &["-h", &data, "-U", "streamgauge", "streamgauge"]);
        Some(server)
    }

    /// How to connect.
    pub fn settings(&self) -> String {
        format!("host={} user=streamgauge dbname=streamgauge", self.data.display())
    }

    fn run(&self, program: &str, args: &[&str]) {
        let is_good = self.succeeds(program, args);
        let log = fs::read_to_string(self.data.join("log")).unwrap_or_default();
        assert!(is_good, "{program} {args:?}: {log}");
    }

    fn succeeds(&self, program: &str, args: &[&str]) -> bool {
        let program = self.programs.join(program);
        let mut command = if self.is_root { Command::new("runuser") } else { Command::new(&program) };
        if self.is_root {
            command.args(["-u", "postgres", "--"]).arg(&program);
        }
        // What is started keeps the streams that it is given.
        let status = command.args(args).current_dir("/").stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.succeeds("pg_ctl", &["-D", &self.data.display().to_string(), "-m", "immediate", "stop"]);
    }
}
