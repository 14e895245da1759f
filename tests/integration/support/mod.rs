//! What the tests share: the server as a child process, a plain HTTP client, a raw WebSocket client
//! that can also misbehave, and published clients under Node. All waiting has a deadline and fails with what was expected.

pub mod canary;
pub mod clients;
pub mod croquet;
pub mod gallery;
pub mod http;
pub mod random;
pub mod server;
pub mod websocket;
pub mod yjs;

use std::net::TcpStream;
use std::time::{Duration, Instant};

/// No wait in any test takes longer than this unless something is broken.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for something that announces itself by no event: asks again and again until it is so.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Makes the end of this socket a reset instead of an end in good order.
pub fn reset_on_drop(stream: &TcpStream) {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO))
        .expect("options can be set");
}
