//! What must be true of the machine before any executor starts. Each refusal says what to do.
//!
//! glommio panics where io_uring is missing, on a thread of its own; so the rings are tried here
//! first, on the main thread, and the process ends with a text instead.

use std::fs;
use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::CapabilitySet;

use crate::net::probe::{ProbeError, probe};
use crate::storage::{DataDir, DataDirError};

/// The oldest kernel whose rings do what a shard needs.
pub const KERNEL_MIN: (u32, u32) = (6, 1);
/// Connections of a process if neither a setting nor the limit of open files says less.
pub const CONNECTIONS_MAX_DEFAULT: usize = 100_000;
/// Locked memory below which glommio refuses to start, in bytes.
const MEMLOCK_MIN: u64 = 512 << 10;
/// Memory that one executor locks, in bytes: the buffers registered with its three rings.
const MEMLOCK_PER_SHARD: u64 = 192 << 10;
/// Descriptors a shard uses besides connections: rings, listeners, wake-ups.
const DESCRIPTORS_PER_SHARD: u64 = 32;
/// Descriptors a process uses besides: stored files, log, standard streams.
const DESCRIPTORS_PER_PROCESS: u64 =
    64 + (crate::storage::HANDLES_MAX + crate::storage::UPLOADS_MAX) as u64;

/// What the process is going to need.
#[derive(Clone, Copy, Debug)]
pub struct Needs<'a> {
    /// Number of shards.
    pub shards: u16,
    /// Connections of the whole process; `None` for as many as files may be open, up to
    /// [`CONNECTIONS_MAX_DEFAULT`].
    pub connections_max: Option<usize>,
    /// The data directory; `None` keeps everything in memory.
    pub data_dir: Option<&'a Path>,
}

/// A machine that will do.
#[derive(Debug)]
pub struct Ready {
    /// Connections of the whole process that the limit of open files allows.
    pub connections_max: usize,
    /// The data directory, locked for as long as this lives.
    pub data_dir: Option<DataDir>,
    /// What is not as it should be, with remedies: to be logged.
    pub warnings: Vec<String>,
}

/// Why the process cannot run here, and what to do. Exit code 78.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel is too old.
    #[error(
        "this kernel is Linux {found}, needed is {}.{} or newer\n  \
         update the kernel, or run on a host or image with a newer one",
        KERNEL_MIN.0, KERNEL_MIN.1
    )]
    Kernel {
        /// What the kernel calls itself.
        found: String,
    },
    /// io_uring is switched off by a sysctl.
    #[error(
        "io_uring is switched off on this machine: kernel.io_uring_disabled is {value}\n  \
         as root: sysctl -w kernel.io_uring_disabled=0{}",
        if *value == 1 { ", or add this process to the group kernel.io_uring_group" } else { "" }
    )]
    Disabled {
        /// The sysctl's value: 1 for all but one group, 2 for everybody.
        value: u8,
    },
    /// A seccomp filter, or another security module, forbids io_uring.
    #[error(
        "io_uring is forbidden to this process ({error}){}\n  \
         Docker's default seccomp profile does that: run the container with \
         --security-opt seccomp=<profile that allows io_uring_setup, io_uring_enter and \
         io_uring_register>; under systemd look at SystemCallFilter",
        if *filtered { ": a seccomp filter is in force" } else { "" }
    )]
    Forbidden {
        /// What was refused.
        error: ProbeError,
        /// Whether a seccomp filter is in force.
        filtered: bool,
    },
    /// io_uring exists, and lacks something.
    #[error(
        "io_uring does not do what is needed here: {error}\n  \
         update the kernel to Linux {}.{} or newer; in a sandbox (gVisor, WSL 1) run on a real \
         kernel instead",
        KERNEL_MIN.0, KERNEL_MIN.1
    )]
    Lacking {
        /// What was refused.
        error: ProbeError,
    },
    /// Too little memory may be locked.
    #[error(
        "{shards} shards lock {needed} bytes of memory, allowed are {allowed} (RLIMIT_MEMLOCK)\n  \
         raise it (LimitMEMLOCK=infinity under systemd, --ulimit memlock=-1 for a container, \
         `ulimit -l` in a shell) or start fewer shards with --shards"
    )]
    Memlock {
        /// Number of shards.
        shards: u16,
        /// Bytes they need.
        needed: u64,
        /// Bytes they may lock.
        allowed: u64,
    },
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
}

impl Error {
    /// The exit code of the process.
    pub const EXIT_CODE: u8 = 78;
}

/// Checks the machine, raises the limits that can be raised, and takes the data directory.
pub fn check(needs: Needs<'_>) -> Result<Ready, Error> {
    check_kernel(&rustix::system::uname().release().to_string_lossy())?;
    check_memlock(needs.shards, raise(Resource::Memlock), may_lock_all())?;
    probe().map_err(|error| refused(error, io_uring_disabled(), is_filtered()))?;
    let descriptors = raise(Resource::Nofile);
    let (connections_max, warning) = connections(needs, descriptors);
    let data_dir = needs.data_dir.map(DataDir::open).transpose()?;
    Ok(Ready { connections_max, data_dir, warnings: warning.into_iter().collect() })
}

fn check_kernel(release: &str) -> Result<(), Error> {
    let mut numbers = release.split(|char: char| !char.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= KERNEL_MIN => Ok(()),
        _ => Err(Error::Kernel { found: release.to_owned() }),
    }
}

fn check_memlock(shards: u16, allowed: Option<u64>, exempt: bool) -> Result<(), Error> {
    let all = if exempt { 0 } else { MEMLOCK_PER_SHARD * u64::from(shards) };
    let needed = all.max(MEMLOCK_MIN);
    match allowed {
        Some(allowed) if allowed < needed => Err(Error::Memlock { shards, needed, allowed }),
        _ => Ok(()),
    }
}

/// Raises a soft limit as far as the hard one allows; what it is then, `None` for unlimited.
fn raise(resource: Resource) -> Option<u64> {
    let limit = getrlimit(resource);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if limit.current != limit.maximum && setrlimit(resource, raised).is_ok() {
        return raised.current;
    }
    limit.current
}

/// With `CAP_IPC_LOCK` the kernel does not count what is locked; glommio looks at the limit still.
fn may_lock_all() -> bool {
    let known = rustix::thread::capabilities(None);
    known.is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK))
}

fn io_uring_disabled() -> u8 {
    let value = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    value.trim().parse().unwrap_or(0)
}

fn is_filtered() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.split_whitespace().eq(["Seccomp:", "2"]))
}

/// Finds the cause behind a refused ring.
fn refused(error: ProbeError, disabled: u8, filtered: bool) -> Error {
    let kind = match &error {
        ProbeError::Create(error) | ProbeError::Buffers(error) | ProbeError::Multishot(error) => {
            rustix::io::Errno::from_io_error(error)
        }
        ProbeError::Operation(_) => None,
    };
    use rustix::io::Errno;
    match kind {
        Some(Errno::PERM) if disabled != 0 => Error::Disabled { value: disabled },
        Some(Errno::PERM | Errno::ACCESS) => Error::Forbidden { error, filtered },
        Some(Errno::NOSYS) if filtered => Error::Forbidden { error, filtered },
        _ => Error::Lacking { error },
    }
}

/// How many connections the limit of open files allows, and a warning if more were asked for.
fn connections(needs: Needs<'_>, descriptors: Option<u64>) -> (usize, Option<String>) {
    let wanted = needs.connections_max.unwrap_or(CONNECTIONS_MAX_DEFAULT);
    let Some(descriptors) = descriptors else { return (wanted, None) };
    let others = DESCRIPTORS_PER_PROCESS + DESCRIPTORS_PER_SHARD * u64::from(needs.shards);
    let allowed = descriptors.saturating_sub(others).max(descriptors / 2);
    let allowed = usize::try_from(allowed).unwrap_or(usize::MAX);
    let warning = (needs.connections_max.is_some() && allowed < wanted).then(|| {
        format!(
            "--connections-max {wanted} needs more than {descriptors} open files (RLIMIT_NOFILE): \
             {allowed} connections will be served; raise it (LimitNOFILE=1048576 under systemd, \
             --ulimit nofile=1048576 for a container, `ulimit -Hn` in a shell)"
        )
    });
    (wanted.min(allowed), warning)
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustix::io::Errno;

    use super::*;

    fn needs(shards: u16, connections_max: Option<usize>) -> Needs<'static> {
        Needs { shards, connections_max, data_dir: None }
    }

    fn create(errno: Errno) -> ProbeError {
        ProbeError::Create(io::Error::from(errno))
    }

    #[test]
    fn this_machine_passes() {
        let ready = check(needs(2, None)).unwrap();
        assert!((1..=CONNECTIONS_MAX_DEFAULT).contains(&ready.connections_max), "{ready:?}");
        assert!(ready.data_dir.is_none() && ready.warnings.is_empty(), "{ready:?}");
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum, "raised");
    }

    #[test]
    fn kernels_are_told_apart_by_number_not_by_text() {
        for release in ["6.1.0", "6.1-rc1", "6.18.44-fc", "10.0", "6.1+"] {
            assert!(check_kernel(release).is_ok(), "{release}");
        }
        for release in ["6.0.19", "5.15.0-91-generic", "4.4", "", "6", "six"] {
            let error = check_kernel(release).unwrap_err().to_string();
            assert!(error.contains("6.1 or newer\n  update"), "{error}");
        }
    }

    #[test]
    fn a_refused_ring_is_explained_by_its_cause() {
        let told =
            |errno, disabled, filtered| refused(create(errno), disabled, filtered).to_string();
        let sysctl = told(Errno::PERM, 2, true);
        assert!(sysctl.contains("sysctl -w kernel.io_uring_disabled=0"), "{sysctl}");
        assert!(!sysctl.contains("io_uring_group"), "{sysctl}");
        assert!(told(Errno::PERM, 1, false).contains("kernel.io_uring_group"));
        for errno in [Errno::PERM, Errno::NOSYS, Errno::ACCESS] {
            let seccomp = told(errno, 0, true);
            assert!(seccomp.contains("--security-opt seccomp="), "{seccomp}");
            assert!(seccomp.contains("filter is in force"), "{seccomp}");
        }
        assert!(!told(Errno::PERM, 0, false).contains("filter is in force"));
        let sandbox = told(Errno::NOSYS, 0, false);
        assert!(sandbox.contains("gVisor") && sandbox.contains("io_uring_setup"), "{sandbox}");
        let old = refused(ProbeError::Operation("SEND"), 0, true).to_string();
        assert!(old.contains("no operation SEND") && old.contains("update the kernel"), "{old}");
    }

    #[test]
    fn executors_need_locked_memory_each() {
        let kib = |kib: u64| Some(kib << 10);
        assert!(check_memlock(2, kib(512), false).is_ok());
        assert!(check_memlock(2, kib(511), false).is_err());
        assert!(check_memlock(2, kib(511), true).is_err(), "glommio looks at the limit itself");
        assert!(check_memlock(42, kib(8192), false).is_ok());
        assert!(check_memlock(43, kib(8192), false).is_err());
        assert!(check_memlock(43, kib(8192), true).is_ok());
        assert!(check_memlock(256, None, false).is_ok());
        let error = check_memlock(64, kib(8192), false).unwrap_err().to_string();
        assert!(error.contains("LimitMEMLOCK=infinity") && error.contains("--shards"), "{error}");
    }

    #[test]
    fn connections_fit_into_the_limit_of_open_files() {
        let others = DESCRIPTORS_PER_PROCESS + 2 * DESCRIPTORS_PER_SHARD;
        assert_eq!(connections(needs(2, None), None).0, CONNECTIONS_MAX_DEFAULT);
        assert_eq!(connections(needs(2, None), Some(20_000)), ((20_000 - others) as usize, None));
        assert_eq!(connections(needs(2, None), Some(1 << 20)), (CONNECTIONS_MAX_DEFAULT, None));
        assert_eq!(connections(needs(2, None), Some(1_024)), (512, None));
        assert_eq!(connections(needs(2, Some(100)), Some(20_000)), (100, None));
        let (allowed, warning) = connections(needs(2, Some(50_000)), Some(20_000));
        assert_eq!(allowed, (20_000 - others) as usize);
        let warning = warning.unwrap();
        assert!(warning.contains("--connections-max 50000"), "{warning}");
        assert!(warning.contains("LimitNOFILE"), "{warning}");
    }
}
