//! Bytes to values and back, pure: HTTP/1.1, WebSocket, JSON.

pub mod http1;
pub mod json;
pub mod websocket;
