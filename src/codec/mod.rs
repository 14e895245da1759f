//! Bytes to values and back, pure: HTTP/1.1, WebSocket, Engine.IO, Socket.IO, JSON, Yjs, rows of
//! rljson, the journal's records.

pub mod date;
pub mod engineio;
pub mod http1;
pub mod journal;
pub mod json;
pub mod lib0;
pub mod rljson;
pub mod socketio;
pub mod websocket;
pub mod ysync;
