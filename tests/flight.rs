//! Arrow Flight SQL of the real server: with the client of arrow-flight, with and without TLS and tokens, and with the ADBC driver for Python
//! where that is installed.

use std::{fs, io::Read as _, net::TcpStream, path::Path, process::Command, sync::Arc, time::Duration};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch},
    datatypes::{Float64Type, Int64Type},
};
use arrow_flight::{
    FlightInfo,
    error::FlightError,
    sql::{CommandGetTables, client::FlightSqlServiceClient},
};
use futures::{StreamExt, TryStreamExt};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use tonic::{
    Code,
    transport::{Channel, Endpoint, Uri},
};

use crate::{
    auth::token,
    support::{
        process::skipped,
        server::{Server, eventually, now_ms},
    },
    tls::{self, Authority},
};

type Client = FlightSqlServiceClient<Channel>;

/// A server that speaks it, with settings; and its address.
fn started(folder: &Path, args: &[&str]) -> (Server, String) {
    let mut server = Server::start(folder, &[&["--flight-listen", "127.0.0.1:0"], args].concat());
    let listening = server.event("Flight SQL: listening");
    let address = listening["address"].as_str().unwrap().to_owned();
    (server, address)
}

fn with_settings(folder: &Path, settings: &str) -> (Server, String) {
    let config = folder.join("streamgauge.yaml");
    fs::write(&config, settings).unwrap();
    started(folder, &["--config", config.to_str().unwrap()])
}

async fn connect(address: &str) -> Client {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    FlightSqlServiceClient::new(endpoint.connect().await.expect("a connection"))
}

/// The same under TLS.
async fn connect_securely(address: &str, trusts: &Authority) -> Client {
    let mut roots = RootCertStore::empty();
    roots.add(trusts.certificate.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (connector, to) = (TlsConnector::from(Arc::new(config)), address.to_owned());
    let dial = tower::service_fn(move |_: Uri| {
        let (connector, to) = (connector.clone(), to.clone());
        async move {
            let socket = tokio::net::TcpStream::connect(&to).await?;
            let name = "127.0.0.1".try_into().expect("a name");
            Ok::<_, std::io::Error>(TokioIo::new(connector.connect(name, socket).await?))
        }
    });
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    FlightSqlServiceClient::new(endpoint.connect_with_connector(dial).await.expect("a connection"))
}

async fn rows(client: &mut Client, info: FlightInfo) -> Result<Vec<RecordBatch>, FlightError> {
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    client.do_get(ticket).await?.try_collect().await
}

async fn ask(client: &mut Client, query: &str) -> Result<Vec<RecordBatch>, FlightError> {
    let info = client.execute(query.to_owned(), None).await?;
    rows(client, info).await
}

/// The code and the words of a failure.
fn refused<T: std::fmt::Debug>(result: Result<T, FlightError>) -> (Code, String) {
    match result.unwrap_err() {
        FlightError::Tonic(status) => (status.code(), status.message().to_owned()),
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_asked_for_prepared_and_found_in_tables() {
    let folder = tempfile::tempdir().unwrap();
    let (server, address) = started(folder.path(), &[]);
    let now = now_ms();
    assert_eq!(server.write("up", &[(now - 1_000, 1.0), (now, 0.5)], None).status, 204);
    let mut client = connect(&address).await;
    // Whoever logs in although nobody has to is welcome.
    client.handshake("anybody", "anything").await.unwrap();
    let found = ask(&mut client, "SELECT metric, value FROM samples ORDER BY ts").await.unwrap();
    assert_eq!(found[0].column(0).as_string::<i32>().value(1), "up");
    assert_eq!(found[0].column(1).as_primitive::<Float64Type>().values(), &[1.0, 0.5]);

    // More than fits into one message, and into what is made ahead.
    let text = "x".repeat(100);
    let many = format!("SELECT value, CAST(value AS VARCHAR) || '{text}' AS text FROM generate_series(1, 200000)");
    let found = ask(&mut client, &many).await.unwrap();
    assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), 200_000);
    assert!(server.get("/metrics", None).body.contains("streamgauge_flight_rows_total 200002"));

    let mut prepared = client.prepare("SELECT ? * 2 AS twice".to_owned(), None).await.unwrap();
    for value in [21, -4] {
        let column = Arc::new(Int64Array::from(vec![value])) as ArrayRef;
        prepared.set_parameters(RecordBatch::try_from_iter([("0", column)]).unwrap()).unwrap();
        let info = prepared.execute().await.unwrap();
        let found = rows(&mut client, info).await.unwrap();
        assert_eq!(found[0].column(0).as_primitive::<Int64Type>().values(), &[2 * value]);
    }
    prepared.close().await.unwrap();

    let asked = CommandGetTables {
        table_name_filter_pattern: Some("costs\\_%".to_owned()),
        include_schema: true,
        ..CommandGetTables::default()
    };
    let info = client.get_tables(asked).await.unwrap();
    let tables: usize = rows(&mut client, info).await.unwrap().iter().map(RecordBatch::num_rows).sum();
    assert!(tables > 3, "{tables}");
    let (code, said) = refused(client.execute_update("DELETE FROM costs".to_owned(), None).await);
    assert!(code == Code::InvalidArgument && said.contains("queries only read"), "{said}");
    assert!(refused(client.begin_transaction().await).1.contains("no transactions"));
    // A client that keeps its connection holds up nothing.
    assert_eq!(server.terminate().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_opens_the_door_under_tls_until_it_is_taken_away() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("ours");
    authority.server().store(folder.path());
    let [(secret, entry), (other_secret, other_entry)] =
        [("notebook", "read"), ("prometheus", "write")].map(|(name, scope)| token(name, scope, &[]));
    let tokens = folder.path().join("tokens.yaml");
    fs::write(&tokens, format!("{entry}{other_entry}")).unwrap();
    let settings = fs::read_to_string(tls::settings(folder.path(), false)).unwrap();
    let settings = format!("{settings}auth: {{tokens_file: {}}}\n", tokens.display());
    let (server, address) = with_settings(folder.path(), &settings);

    let mut client = connect_securely(&address, &authority).await;
    let (code, said) = refused(ask(&mut client, "SELECT 1").await);
    assert!(code == Code::Unauthenticated && said.contains("no valid token"), "{said}");
    assert!(client.handshake("notebook", "sg_wrong").await.is_err());
    assert!(client.handshake("prometheus", &secret).await.is_err(), "another's token");
    client.handshake("notebook", &secret).await.unwrap();
    assert_eq!(client.token(), Some(&secret));
    assert_eq!(ask(&mut client, "SELECT 1").await.unwrap()[0].num_rows(), 1);

    let mut writer = connect_securely(&address, &authority).await;
    writer.set_token(other_secret);
    let (code, said) = refused(ask(&mut writer, "SELECT 1").await);
    assert!(code == Code::PermissionDenied && said.contains("lacks the scope `read`"), "{said}");
    let plain = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await;
    if let Ok(channel) = plain {
        let mut plain = FlightSqlServiceClient::new(channel);
        plain.set_token(secret.clone());
        assert!(ask(&mut plain, "SELECT 1").await.is_err(), "nothing goes on without TLS");
    }

    let ca = folder.path().join("ca.pem");
    fs::write(&ca, authority.certificate.pem()).unwrap();
    drive(&address, &["notebook", &secret, ca.to_str().unwrap()]);

    // There is no session that would outlive it.
    fs::write(&tokens, other_entry).unwrap();
    let mut is_open = true;
    for _ in 0..600 {
        is_open = ask(&mut client, "SELECT 1").await.is_ok();
        if !is_open {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!is_open, "the token is gone, and still lets in");
    assert!(!server.log_text().contains(&secret), "a token is in the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_ends_with_its_time_and_with_its_reader() {
    let folder = tempfile::tempdir().unwrap();
    let (server, address) = with_settings(folder.path(), "sql: {timeout: 2s}\n");
    let mut client = connect(&address).await;
    let endless = "SELECT count(*) FROM generate_series(1, 100000000000)";
    let (code, said) = refused(ask(&mut client, endless).await);
    assert!(code == Code::DeadlineExceeded, "{said}");

    let running = || server.get("/api/v1/status/queries", None).body.matches("generate_series").count();
    let info = client.execute(endless.to_owned(), None).await.unwrap();
    let mut reading = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    assert_eq!(running(), 1);
    let waited = tokio::time::timeout(Duration::from_millis(100), reading.next()).await;
    assert!(waited.is_err(), "there is nothing to read yet");
    drop(reading);
    eventually(|| (running() == 0).then_some(())).expect("nobody waits for it any more");
    // Both ended, the second because nobody listened.
    let canceled = "streamgauge_flight_statements_total{result=\"canceled\"} 1";
    eventually(|| server.get("/metrics", None).body.contains(canceled).then_some(())).expect("it is counted");
}

#[test]
fn connections_are_bounded_and_strangers_are_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let (server, address) = started(folder.path(), &[]);
    let connect = || TcpStream::connect(&address).unwrap();
    let held: Vec<TcpStream> = (0..128).map(|_| connect()).collect();
    let mut one_more = connect();
    one_more.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut answer = Vec::new();
    let _ = one_more.read_to_end(&mut answer);
    assert!(answer.is_empty());
    let refused = || {
        let metrics = server.get("/metrics", None).body;
        let line = metrics.lines().find(|line| line.starts_with("streamgauge_flight_connections_refused_total "));
        line.is_some_and(|line| !line.ends_with(" 0")).then_some(())
    };
    eventually(refused).expect("it is counted");
    drop(held);
}

/// Runs the ADBC driver against a server, if there is one; `as_whom` is name, token and the authority's certificate, or nothing.
fn drive(address: &str, as_whom: &[&str]) {
    const INSTALL: &str = "python3 -m pip install adbc-driver-flightsql adbc-driver-manager pyarrow";
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/flight_client.py");
    let port = address.rsplit(':').next().unwrap();
    let Ok(output) = Command::new("python3").args([script, port]).args(as_whom).output() else {
        return skipped("python3 is not installed", &format!("apt-get install -y python3-pip && {INSTALL}"));
    };
    let told = String::from_utf8_lossy(&output.stdout);
    if told.starts_with("missing") {
        return skipped(&format!("the ADBC driver is not installed for python3: {told}"), INSTALL);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("done"), "{told}{complaint}");
}

#[test]
fn the_adbc_driver_asks_and_understands() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, address) = started(folder.path(), &[]);
    drive(&address, &[]);
}
