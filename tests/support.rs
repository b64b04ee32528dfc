//! What the tests share.

pub mod process;
pub mod server;
pub mod wire;
