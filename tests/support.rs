//! What the tests share.

pub mod form;
pub mod grafana_client;
pub mod mail;
pub mod openapi;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod random;
pub mod receiver;
pub mod rows;
pub mod seaweed;
pub mod server;
pub mod wire;
