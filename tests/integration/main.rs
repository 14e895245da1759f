//! Tests over real sockets against the real binary, on 127.0.0.1 only.

#![allow(unreachable_pub)] // one binary: what is pub is for its other modules
#![allow(clippy::disallowed_methods)] // a process is watched from outside, where time passes

mod accounts;
mod comutiny_clients;
mod crashes;
mod croquet_bad_input;
mod croquet_clients;
mod engineio;
mod faults;
mod files;
mod gallery;
mod http;
mod logs;
mod process;
mod rljson_clients;
mod slow_readers;
mod socketio_clients;
mod support;
mod websocket;
mod yjs_clients;
