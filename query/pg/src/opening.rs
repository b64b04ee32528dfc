//! The begin of a connection: TLS, cancel requests, who it is, and what the server says of itself.
//!
//! Called by the server with a time limit over all of it; hands on a connection that may ask.
//!
//! Invariants: where TLS is configured nothing goes on without it; bytes sent before a handshake are never taken for bytes of after it;
//! a password crosses the network only under TLS.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::OwnedSemaphorePermit,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    Access, Inner, Socket,
    cancel::Key,
    failure::Failure,
    limits,
    scram::{Exchange, MECHANISM, Verifier},
    wire::{Channel, Ended, Fields},
};

/// Requests in place of a version.
const CANCEL: u32 = 80_877_102;
const TLS: u32 = 80_877_103;
const GSSAPI: u32 = 80_877_104;
/// The one version, without its minor part.
const VERSION: u32 = 3;
/// How ALPN names the protocol; newer drivers insist on it.
const ALPN: &[u8] = b"postgresql";
/// What every client without a right password hears.
const DENIED: &str = "password authentication failed: the user is the token's name, the password is the token";

/// A connection that may ask.
pub(crate) struct Opened {
    pub channel: Channel,
    pub key: Key,
    pub user: String,
    pub seat: OwnedSemaphorePermit,
    /// What the client said about itself.
    pub options: BTreeMap<String, String>,
}

/// The first message of a client.
enum First {
    Options(BTreeMap<String, String>, u32),
    Cancel(u32, u32),
}

/// Opens a connection; none if it had no more to say.
pub(crate) async fn open(server: &Inner, socket: Box<dyn Socket>, is_near: bool) -> Result<Option<Opened>, Ended> {
    let (socket, first, is_tls) = greet(server, socket).await?;
    let mut channel = Channel::new(socket);
    let opened = match first {
        Ok(First::Cancel(id, secret)) => {
            if server.keys.cancel(id, secret) {
                server.meter.canceled();
            }
            return Ok(None);
        }
        Ok(First::Options(options, minor)) => log_in(server, &mut channel, options, (minor, is_tls, is_near)).await,
        Err(failure) => Err(Ended::Wrong(failure)),
    };
    match opened {
        Ok((user, options)) => {
            let Ok(seat) = Arc::clone(&server.seats).try_acquire_owned() else {
                server.meter.refused();
                Failure::fatal("53300", "too many connections: close some, or retry later").write(&mut channel.out);
                channel.send().await?;
                return Ok(None);
            };
            channel.out.message(b'R', |out| out.put_u32(0));
            let [a, b, c, d, ..] = server.random.bits().to_be_bytes();
            let secret = u32::from_be_bytes([a, b, c, d]);
            Ok(Some(Opened { channel, key: server.keys.make(secret), user, seat, options }))
        }
        Err(Ended::Wrong(failure)) => {
            Failure { is_fatal: true, ..failure }.write(&mut channel.out);
            channel.send().await?;
            Ok(None)
        }
        Err(gone) => Err(gone),
    }
}

type Greeted = (Box<dyn Socket>, Result<First, Failure>, bool);

async fn greet(server: &Inner, mut socket: Box<dyn Socket>) -> Result<Greeted, Ended> {
    let mut is_tls = false;
    // Each of both requests may come once.
    for _ in 0..3 {
        let mut body = Fields(first(&mut socket).await?);
        let code = body.u32().map_err(Ended::Wrong)?;
        match code {
            TLS if is_tls => return Err(Ended::Gone),
            TLS => match &server.tls {
                Some(tls) => {
                    socket.write_all(b"S").await?;
                    socket.flush().await?;
                    let mut config = ServerConfig::clone(&tls());
                    config.alpn_protocols = vec![ALPN.to_vec()];
                    socket = Box::new(TlsAcceptor::from(Arc::new(config)).accept(socket).await?);
                    is_tls = true;
                }
                None => refuse(&mut socket).await?,
            },
            GSSAPI => refuse(&mut socket).await?,
            CANCEL => {
                let request = body.u32().and_then(|id| Ok(First::Cancel(id, body.u32()?)));
                return Ok((socket, request, is_tls));
            }
            version if version >> 16 == VERSION => {
                return Ok((
                    socket,
                    options(&mut body).map(|options| First::Options(options, version & 0xffff)),
                    is_tls,
                ));
            }
            version => {
                let message =
                    format!("version {}.{} of the protocol is not spoken, only 3.0", version >> 16, version & 0xffff);
                return Ok((socket, Err(Failure::new("08P01", message)), is_tls));
            }
        }
    }
    Err(Ended::Gone)
}

async fn refuse(socket: &mut Box<dyn Socket>) -> Result<(), Ended> {
    socket.write_all(b"N").await?;
    Ok(socket.flush().await?)
}

/// The body of a message without a kind. Not one byte more is read: what follows may be a handshake.
async fn first(socket: &mut Box<dyn Socket>) -> Result<Bytes, Ended> {
    let length = usize::try_from(socket.read_u32().await?).unwrap_or(usize::MAX);
    if !(8..=limits::OPENING_BYTES_MAX).contains(&length) {
        return Err(Ended::Gone);
    }
    let mut body = vec![0; length - 4];
    socket.read_exact(&mut body).await?;
    Ok(body.into())
}

fn options(body: &mut Fields) -> Result<BTreeMap<String, String>, Failure> {
    let mut options = BTreeMap::new();
    loop {
        let name = body.text()?;
        if name.is_empty() {
            return Ok(options);
        }
        options.insert(name, body.text()?);
    }
}

async fn log_in(
    server: &Inner,
    channel: &mut Channel,
    mut options: BTreeMap<String, String>,
    (minor, is_tls, is_near): (u32, bool, bool),
) -> Result<(String, BTreeMap<String, String>), Ended> {
    let refused = |code, message: &str| Err(Ended::Wrong(Failure::fatal(code, message)));
    if server.tls.is_some() && !is_tls {
        return refused("28000", "this server speaks only TLS: connect with sslmode=require");
    }
    let unknown: Vec<String> = options.keys().filter(|name| name.starts_with("_pq_.")).cloned().collect();
    if minor > 0 || !unknown.is_empty() {
        channel.out.message(b'v', |out| {
            out.put_u32(VERSION << 16);
            out.put_u32(u32::try_from(unknown.len()).unwrap_or(0));
            unknown.iter().for_each(|name| out.text(name));
        });
    }
    if options.get("replication").is_some_and(|value| !matches!(value.as_str(), "false" | "off" | "no" | "0")) {
        return refused(
            "0A000",
            "there is no replication here: the tables are Delta tables, which others read directly",
        );
    }
    let Some(user) = options.remove("user").filter(|user| !user.is_empty()) else {
        return refused("28000", "no user is named");
    };
    let is_good = match server.guard.access(&user) {
        Some(Access::Open) => true,
        Some(Access::Scram(verifier)) => scram(server, channel, verifier).await?,
        Some(Access::Password) if is_tls || is_near => password(server, channel, &user).await?,
        Some(Access::Password) => {
            return refused(
                "28000",
                "of this token only its SHA-256 is known, so it would cross the network as it is: configure `tls`, or give \
                 the token the `scram:` line that `streamgauge token` prints",
            );
        }
        None => scram(server, channel, Verifier::of_nobody(&user, &server.secret)).await?,
    };
    let admitted = if is_good { server.guard.admit(&user) } else { Err(DENIED.to_owned()) };
    if let Err(reason) = admitted {
        server.meter.denied();
        return refused(if is_good { "28000" } else { "28P01" }, &reason);
    }
    Ok((user, options))
}

/// What answers a request for authentication.
async fn answer(channel: &mut Channel) -> Result<Bytes, Ended> {
    channel.send().await?;
    match channel.frame(limits::OPENING_BYTES_MAX).await? {
        (b'p', body) => Ok(body),
        _ => Err(Ended::Wrong(Failure::protocol("a password was asked for"))),
    }
}

async fn password(server: &Inner, channel: &mut Channel, user: &str) -> Result<bool, Ended> {
    channel.out.message(b'R', |out| out.put_u32(3));
    let body = answer(channel).await?;
    Ok(server.guard.is_password(user, body.strip_suffix(b"\0").unwrap_or(&body)))
}

async fn scram(server: &Inner, channel: &mut Channel, verifier: Verifier) -> Result<bool, Ended> {
    let wrong = || Ended::Wrong(Failure::protocol("no message of SCRAM-SHA-256"));
    channel.out.message(b'R', |out| {
        out.put_u32(10);
        out.text(MECHANISM);
        out.put_u8(0);
    });
    let mut body = Fields(answer(channel).await?);
    if body.text().map_err(Ended::Wrong)? != MECHANISM {
        return Err(wrong());
    }
    // The length of what follows, which is all that is left.
    body.u32().map_err(Ended::Wrong)?;
    let (exchange, challenge) = Exchange::begin(verifier, &body.0, server.random.bits()).ok_or_else(wrong)?;
    channel.out.message(b'R', |out| {
        out.put_u32(11);
        out.bytes(challenge.as_bytes());
    });
    let last = answer(channel).await?;
    let Some(proof) = exchange.end(&last) else { return Ok(false) };
    channel.out.message(b'R', |out| {
        out.put_u32(12);
        out.bytes(proof.as_bytes());
    });
    Ok(true)
}
