//! Messages: framed, read and written.
//!
//! Invariants: a message is read only as far as it is long; a length beyond the limit ends the connection before anything is kept
//! for it; what is written is gathered and sent in pieces.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::{Socket, failure::Failure, limits};

/// A message of a client after it has come in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Query(String),
    Parse {
        name: String,
        text: String,
        types: Vec<u32>,
    },
    Bind(Bind),
    Describe {
        what: Named,
        name: String,
    },
    Execute {
        portal: String,
        rows_max: usize,
    },
    Close {
        what: Named,
        name: String,
    },
    Flush,
    Sync,
    Terminate,
    /// What only belongs to copying in or to logins; ignored or refused where it comes.
    Other(u8),
}

/// Values for a statement's places.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bind {
    pub portal: String,
    pub statement: String,
    pub formats: Vec<bool>,
    pub values: Vec<Option<Bytes>>,
    /// Of the columns of the answer.
    pub results: Vec<bool>,
}

/// Which of both a name is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named {
    Statement,
    Portal,
}

/// What a message holds, read from its begin.
pub(crate) struct Fields(pub Bytes);

impl Fields {
    fn short() -> Failure {
        Failure::protocol("message is shorter than what it says is in it")
    }

    pub fn u8(&mut self) -> Result<u8, Failure> {
        self.0.try_get_u8().map_err(|_| Self::short())
    }

    pub fn u16(&mut self) -> Result<u16, Failure> {
        self.0.try_get_u16().map_err(|_| Self::short())
    }

    pub fn u32(&mut self) -> Result<u32, Failure> {
        self.0.try_get_u32().map_err(|_| Self::short())
    }

    pub fn text(&mut self) -> Result<String, Failure> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or_else(Self::short)?;
        let text = self.0.split_to(end);
        self.0.advance(1);
        String::from_utf8(text.to_vec()).map_err(|_| Failure::fatal("22021", "text is not UTF-8"))
    }

    /// A value with its length before it; none is null.
    fn value(&mut self) -> Result<Option<Bytes>, Failure> {
        let length = self.u32()?;
        if length == u32::MAX {
            return Ok(None);
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > self.0.len() {
            return Err(Self::short());
        }
        Ok(Some(self.0.split_to(length)))
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T, Failure>) -> Result<Vec<T>, Failure> {
        let count = self.u16()?;
        (0..count).map(|_| item(self)).collect()
    }

    fn format(&mut self) -> Result<bool, Failure> {
        match self.u16()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Failure::protocol(format!("there is no format {other}: 0 is text, 1 is binary"))),
        }
    }

    fn named(&mut self) -> Result<(Named, String), Failure> {
        let what = match self.u8()? {
            b'S' => Named::Statement,
            b'P' => Named::Portal,
            _ => return Err(Failure::protocol("neither a statement nor a portal is named")),
        };
        Ok((what, self.text()?))
    }
}

impl Message {
    fn of(kind: u8, body: Bytes) -> Result<Self, Failure> {
        let mut fields = Fields(body);
        Ok(match kind {
            b'Q' => Self::Query(fields.text()?),
            b'P' => Self::Parse { name: fields.text()?, text: fields.text()?, types: fields.list(Fields::u32)? },
            b'B' => Self::Bind(Bind {
                portal: fields.text()?,
                statement: fields.text()?,
                formats: fields.list(Fields::format)?,
                values: fields.list(Fields::value)?,
                results: fields.list(Fields::format)?,
            }),
            b'D' => {
                let (what, name) = fields.named()?;
                Self::Describe { what, name }
            }
            b'C' => {
                let (what, name) = fields.named()?;
                Self::Close { what, name }
            }
            b'E' => {
                Self::Execute { portal: fields.text()?, rows_max: usize::try_from(fields.u32()?).unwrap_or(usize::MAX) }
            }
            b'H' => Self::Flush,
            b'S' => Self::Sync,
            b'X' => Self::Terminate,
            other => Self::Other(other),
        })
    }
}

/// Bytes on their way out.
#[derive(Default)]
pub(crate) struct Out(Vec<u8>);

impl Out {
    /// A message: its kind, its length, and what `fill` writes.
    pub fn message(&mut self, kind: u8, fill: impl FnOnce(&mut Self)) {
        self.put_u8(kind);
        self.sized(4, fill);
    }

    /// A length, which counts itself by `own`, and what `fill` writes.
    pub fn sized(&mut self, own: usize, fill: impl FnOnce(&mut Self)) {
        let begin = self.0.len();
        self.put_u32(0);
        fill(self);
        let length = u32::try_from(self.0.len() - begin - 4 + own).unwrap_or(u32::MAX);
        self.0[begin..begin + 4].copy_from_slice(&length.to_be_bytes());
    }

    pub fn empty(&mut self, kind: u8) {
        self.message(kind, |_| {});
    }

    pub fn put_u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub fn put_u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    pub fn put_u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// A text with its end. What is behind a zero in it could not be told from what follows.
    pub fn text(&mut self, text: &str) {
        self.bytes(text.split('\0').next().unwrap_or_default().as_bytes());
        self.put_u8(0);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Takes back what was written from `begin` on.
    pub fn take_from(&mut self, begin: usize) -> Vec<u8> {
        self.0.split_off(begin)
    }
}

/// The two ends of a connection.
pub(crate) struct Channel {
    socket: Box<dyn Socket>,
    incoming: BytesMut,
    pub out: Out,
}

/// Why no message came.
pub(crate) enum Ended {
    /// The other side is gone.
    Gone,
    /// It said what cannot be understood.
    Wrong(Failure),
}

impl From<io::Error> for Ended {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

impl Channel {
    pub fn new(socket: Box<dyn Socket>) -> Self {
        Self { socket, incoming: BytesMut::new(), out: Out::default() }
    }

    /// The next message, of at most `bytes_max`. Nothing is lost when it is not waited for to the end.
    pub async fn frame(&mut self, bytes_max: usize) -> Result<(u8, Bytes), Ended> {
        loop {
            if let Some(frame) = self.whole(bytes_max)? {
                return Ok(frame);
            }
            if self.socket.read_buf(&mut self.incoming).await? == 0 {
                return Err(Ended::Gone);
            }
        }
    }

    pub async fn message(&mut self) -> Result<Message, Ended> {
        let (kind, body) = self.frame(limits::MESSAGE_BYTES_MAX).await?;
        Message::of(kind, body).map_err(Ended::Wrong)
    }

    fn whole(&mut self, bytes_max: usize) -> Result<Option<(u8, Bytes)>, Ended> {
        let Some((head, _)) = self.incoming.split_first_chunk::<5>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes([head[1], head[2], head[3], head[4]])).unwrap_or(usize::MAX);
        if length < 4 || length > bytes_max {
            let message = format!("message of a length that is not taken bytes={length} bytes_max={bytes_max}");
            return Err(Ended::Wrong(Failure::protocol(message)));
        }
        if self.incoming.len() <= length {
            self.incoming.reserve(length + 1 - self.incoming.len());
            return Ok(None);
        }
        let kind = head[0];
        let mut frame = self.incoming.split_to(length + 1).freeze();
        frame.advance(5);
        Ok(Some((kind, frame)))
    }

    /// Is there a message that was read already? Then answers can wait for those to it.
    pub fn has_more(&self) -> bool {
        let Some((head, _)) = self.incoming.split_first_chunk::<5>() else { return false };
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        self.incoming.len() > usize::try_from(length).unwrap_or(usize::MAX)
    }

    /// Returns when the other side is gone; what it says meanwhile is kept, up to a limit.
    pub async fn gone(&mut self) {
        while self.incoming.len() <= limits::MESSAGE_BYTES_MAX {
            match self.socket.read_buf(&mut self.incoming).await {
                Ok(bytes) if bytes > 0 => {}
                _ => return,
            }
        }
        std::future::pending().await
    }

    /// Sends what has been gathered.
    pub async fn send(&mut self) -> io::Result<()> {
        let sent = async {
            self.socket.write_all(&self.out.0).await?;
            self.socket.flush().await
        };
        timeout(limits::SEND_TIMEOUT, sent).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        self.out.0.clear();
        Ok(())
    }

    /// Sends it if it is much.
    pub async fn send_much(&mut self) -> io::Result<()> {
        if self.out.len() >= limits::SEND_BYTES { self.send().await } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_lies_about_its_length_is_refused() {
        let bind = Bytes::from_static(b"\0\0\0\0\0\x01\0\0\0\x09abc");
        let failure = Message::of(b'B', bind).unwrap_err();
        assert_eq!(failure.code, "08P01");
        assert!(Message::of(b'Q', Bytes::from_static(b"SELECT 1")).is_err(), "no end");
    }

    #[tokio::test]
    async fn a_length_beyond_the_limit_ends_the_connection_at_once() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut channel = Channel::new(Box::new(server));
        client.write_all(b"Q\x7f\xff\xff\xff").await.unwrap();
        assert!(matches!(channel.message().await, Err(Ended::Wrong(failure)) if failure.is_fatal));
        assert!(channel.incoming.capacity() < 1 << 20, "nothing was kept for it");
    }
}
