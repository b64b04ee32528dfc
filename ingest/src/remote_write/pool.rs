//! Buffers that go from request to request, so that a steady stream of requests allocates nothing but its rows.

use parking_lot::Mutex;

use super::{admit::Located, decoded::Decoded};

/// Buffers kept at most: as many as requests are worked on at a time, and a few.
const KEPT_MAX: usize = 16;
/// A buffer that one large request has swollen is let go.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// The buffers of one request.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// The body as it came.
    pub(crate) body: Vec<u8>,
    /// Decompressed; its length is that of the largest body so far.
    pub(crate) decompressed: Vec<u8>,
    pub(crate) decoded: Decoded,
    pub(crate) located: Located,
}

#[derive(Default)]
pub(crate) struct Pool(Mutex<Vec<Buffers>>);

impl Pool {
    pub(crate) fn take(&self) -> Buffers {
        self.0.lock().pop().unwrap_or_default()
    }

    pub(crate) fn put(&self, buffers: Buffers) {
        let Buffers { body, decompressed, decoded, .. } = &buffers;
        let largest = body.capacity().max(decompressed.capacity()).max(decoded.bytes());
        let mut kept = self.0.lock();
        if largest <= KEPT_BYTES_MAX && kept.len() < KEPT_MAX {
            kept.push(buffers);
        }
    }
}
