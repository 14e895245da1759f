//! Listening sockets: one for each shard on the same address (`SO_REUSEPORT`).

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

/// Connections the kernel may hold before they are accepted; the kernel caps it at `somaxconn`.
const BACKLOG: i32 = 4096;
/// Unacknowledged bytes end a connection after this many milliseconds.
const USER_TIMEOUT_MS: u32 = 20_000;

/// Listeners for `shards` shards on one address. With port 0 the first picks the port.
///
/// # Errors
/// If the address cannot be bound.
pub fn listen(address: SocketAddr, shards: usize) -> io::Result<(SocketAddr, Vec<OwnedFd>)> {
    // Shared only once it is ours: a port that is bound for sharing from the start could be another
    // server's of the same user, and each would get some of the other's connections.
    let first = bind(address, false)?;
    sockopt::set_socket_reuseport(&first, true)?;
    let address = match rustix::net::getsockname(&first)?.try_into() {
        Ok(bound) => bound,
        Err(_) => address,
    };
    let mut sockets = vec![first];
    for _ in 1..shards {
        sockets.push(bind(address, true)?);
    }
    for socket in &sockets {
        rustix::net::listen(socket, BACKLOG)?;
    }
    Ok((address, sockets))
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(
        family,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, shared)?;
    // Accepted sockets inherit these, which saves system calls for each connection. Without
    // TCP_NODELAY, Nagle's algorithm and delayed acknowledgements add 40 ms to lone messages.
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_user_timeout(&socket, USER_TIMEOUT_MS)?;
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_served_by_one_process() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (address, _sockets) = listen(any, 2).expect("loopback can be bound");
        let again = listen(address, 2).map_err(|error| error.kind());
        assert_eq!(again.map(|(address, _)| address), Err(io::ErrorKind::AddrInUse));
    }

    #[test]
    fn port_zero_gives_every_shard_the_same_port() {
        let (address, sockets) =
            listen(SocketAddr::from(([127, 0, 0, 1], 0)), 3).expect("loopback can be bound");
        assert_ne!(address.port(), 0);
        for socket in &sockets {
            let bound: SocketAddr =
                rustix::net::getsockname(socket).unwrap().try_into().expect("an IP address");
            assert_eq!(bound, address);
        }
    }
}
