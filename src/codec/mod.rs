//! Bytes to values and back, pure: HTTP/1.1, WebSocket, JSON, the journal's records.

pub mod http1;
pub mod journal;
pub mod json;
pub mod websocket;
