//! Sockets on the loopback network, the process's file limit and its place on a core.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::failure::{Failure, While};

const BACKLOG: i32 = 4096;
/// Descriptors a process needs besides its connections.
const FILES_BESIDES: u64 = 64;

/// Starts a connection from 127.0.0.`source` without waiting for it.
pub(crate) fn connect(source: u8, target: SocketAddrV4) -> rustix::io::Result<OwnedFd> {
    let fd = stream()?;
    net::bind(&fd, &SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, source), 0))?;
    sockopt::set_tcp_nodelay(&fd, true)?;
    match net::connect(&fd, &target) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(fd),
        Err(error) => Err(error),
    }
}

/// Listens on 127.0.0.1; port 0 lets the system choose.
pub(crate) fn listen(port: u16) -> rustix::io::Result<(OwnedFd, SocketAddrV4)> {
    let fd = stream()?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    net::bind(&fd, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    net::listen(&fd, BACKLOG)?;
    let address = SocketAddr::try_from(net::getsockname(&fd)?)?;
    match address {
        SocketAddr::V4(address) => Ok((fd, address)),
        SocketAddr::V6(_) => Err(Errno::AFNOSUPPORT),
    }
}

/// Takes one waiting connection, if there is one.
pub(crate) fn accept(listener: impl AsFd) -> rustix::io::Result<Option<OwnedFd>> {
    match net::accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
        Ok(fd) => {
            sockopt::set_tcp_nodelay(&fd, true)?;
            Ok(Some(fd))
        }
        Err(Errno::AGAIN | Errno::CONNABORTED | Errno::INTR) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads what is there. `None`: nothing now. Zero bytes: the peer has ended.
pub(crate) fn receive(fd: impl AsFd, into: &mut [u8]) -> rustix::io::Result<Option<usize>> {
    match net::recv(fd, into, RecvFlags::DONTWAIT) {
        Ok((bytes, _)) => Ok(Some(bytes)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes what fits and says how many bytes that were.
pub(crate) fn send(fd: impl AsFd, bytes: &[u8]) -> rustix::io::Result<usize> {
    match net::send(fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        other => other,
    }
}

/// Raises the limit of open files as far as allowed and refuses a run that cannot fit.
pub(crate) fn reserve_files(connections: u64) -> Result<(), Failure> {
    let needed = connections + FILES_BESIDES;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .while_doing(|| "raising the limit of open files".to_owned())?;
    match limit.maximum {
        Some(most) if most < needed => Err(Failure::Setup(format!(
            "{connections} connections need {needed} open files, the hard limit is {most}: \
             raise it (ulimit -Hn, LimitNOFILE) or ask for fewer connections"
        ))),
        _ => Ok(()),
    }
}

/// Keeps this process on one core.
pub(crate) fn pin(cpu: usize) -> Result<(), Failure> {
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    rustix::thread::sched_setaffinity(None, &set).while_doing(|| format!("pinning to CPU {cpu}"))
}

fn stream() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)
}
