//! What `/proc` knows about the server, and about this process: CPU time as the scheduler
//! counts it, memory, listening sockets, limits.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

use serde::Serialize;

use crate::failure::{Failure, While};

/// One process, watched from outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    pid: u32,
}

/// CPU time of all threads of a process so far, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    /// Time on a core, kernel and user.
    pub(crate) run_ns: u64,
    /// Time ready to run but kept waiting: other work disturbed the measurement.
    pub(crate) wait_ns: u64,
    /// Clock ticks in user space and in the kernel; coarse, for shares only.
    pub(crate) user_ticks: u64,
    /// See `user_ticks`.
    pub(crate) system_ticks: u64,
}

/// Memory of a process in bytes.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Memory {
    /// Resident pages.
    pub(crate) rss_bytes: u64,
    /// Resident pages that belong to no file: heap and stacks.
    pub(crate) rss_anon_bytes: u64,
    /// Resident pages nobody shares.
    pub(crate) private_bytes: u64,
}

impl Cpu {
    /// What was used since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            run_ns: self.run_ns.saturating_sub(earlier.run_ns),
            wait_ns: self.wait_ns.saturating_sub(earlier.wait_ns),
            user_ticks: self.user_ticks.saturating_sub(earlier.user_ticks),
            system_ticks: self.system_ticks.saturating_sub(earlier.system_ticks),
        }
    }

    /// Share of the CPU time that was spent outside the kernel.
    pub(crate) fn user_share(self) -> f64 {
        self.user_ticks as f64 / (self.user_ticks + self.system_ticks).max(1) as f64
    }
}

impl Probe {
    /// Watches the process `pid`.
    pub(crate) fn of(pid: u32) -> Self {
        Self { pid }
    }

    /// Watches this process.
    pub(crate) fn own() -> Self {
        Self { pid: std::process::id() }
    }

    /// CPU time so far, summed over the threads that live now. Threads that end between two
    /// readings take their share with them; servers under test keep theirs.
    pub(crate) fn cpu(self) -> Result<Cpu, Failure> {
        let mut cpu = Cpu::default();
        let tasks = format!("/proc/{}/task", self.pid);
        for task in fs::read_dir(&tasks).while_doing(|| format!("reading {tasks}"))?.flatten() {
            // A thread may have ended since the directory was read.
            let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
            let mut numbers = text.split_ascii_whitespace().map_while(|word| word.parse().ok());
            cpu.run_ns += numbers.next().unwrap_or(0);
            cpu.wait_ns += numbers.next().unwrap_or(0);
        }
        let stat = self.read("stat")?;
        // Fields count from the state, which follows the name in brackets.
        let mut fields = stat.rsplit(')').next().unwrap_or("").split_ascii_whitespace().skip(11);
        let mut ticks = || fields.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        (cpu.user_ticks, cpu.system_ticks) = (ticks(), ticks());
        Ok(cpu)
    }

    /// Memory now.
    pub(crate) fn memory(self) -> Result<Memory, Failure> {
        let status = self.read("status")?;
        let rollup = self.read("smaps_rollup")?;
        Ok(Memory {
            rss_bytes: kilobytes(&status, "VmRSS:"),
            rss_anon_bytes: kilobytes(&status, "RssAnon:"),
            private_bytes: kilobytes(&rollup, "Private_Clean:")
                + kilobytes(&rollup, "Private_Dirty:"),
        })
    }

    /// Number of threads.
    pub(crate) fn threads(self) -> Result<u64, Failure> {
        let status = self.read("status")?;
        Ok(field(&status, "Threads:").and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    /// How many files the process has open.
    pub(crate) fn files(self) -> Result<u64, Failure> {
        let directory = format!("/proc/{}/fd", self.pid);
        let entries = fs::read_dir(&directory).while_doing(|| format!("reading {directory}"))?;
        Ok(entries.count() as u64)
    }

    /// How many files the process may have open.
    pub(crate) fn files_max(self) -> Result<u64, Failure> {
        let limits = self.read("limits")?;
        let soft = field(&limits, "Max open files").and_then(|text| text.parse().ok());
        Ok(soft.unwrap_or(u64::MAX))
    }

    /// The TCP ports on which the process listens.
    pub(crate) fn listening(self) -> Result<Vec<SocketAddrV4>, Failure> {
        let own = self.socket_inodes()?;
        let mut found: Vec<_> = self
            .read("net/tcp")?
            .lines()
            .filter_map(listener)
            .filter(|(_, inode)| own.contains(inode))
            .map(|(address, _)| address)
            .collect();
        // One listener per shard shares one address.
        found.sort();
        found.dedup();
        Ok(found)
    }

    fn socket_inodes(self) -> Result<Vec<u64>, Failure> {
        let directory = format!("/proc/{}/fd", self.pid);
        let entries = fs::read_dir(&directory).while_doing(|| format!("reading {directory}"))?;
        let inode =
            |link: &Path| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
        Ok(entries
            .flatten()
            .filter_map(|entry| inode(&fs::read_link(entry.path()).ok()?))
            .collect())
    }

    fn read(self, name: &str) -> Result<String, Failure> {
        let path = format!("/proc/{}/{name}", self.pid);
        fs::read_to_string(&path).while_doing(|| format!("reading {path} (is the server alive?)"))
    }
}

/// Release of the running kernel.
pub(crate) fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").map_or_else(
        |_| "unknown".to_owned(),
        |text| text.trim().split('-').next().unwrap_or("unknown").to_owned(),
    )
}

fn listener(line: &str) -> Option<(SocketAddrV4, u64)> {
    const LISTEN: &str = "0A";
    let words: Vec<_> = line.split_ascii_whitespace().collect();
    if words.get(3) != Some(&LISTEN) {
        return None;
    }
    let (address, port) = words.get(1)?.split_once(':')?;
    let octets = u32::from_str_radix(address, 16).ok()?.to_ne_bytes();
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((SocketAddrV4::new(Ipv4Addr::from(octets), port), words.get(9)?.parse().ok()?))
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()
}

fn kilobytes(text: &str, name: &str) -> u64 {
    field(text, name).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_run_and_has_memory() {
        let probe = Probe::own();
        assert!(probe.cpu().unwrap().run_ns > 0);
        let memory = probe.memory().unwrap();
        assert!(memory.rss_bytes >= memory.rss_anon_bytes && memory.rss_anon_bytes > 0);
        assert!(probe.threads().unwrap() >= 1 && probe.files_max().unwrap() > 0);
    }

    #[test]
    fn an_own_listener_is_found() {
        let (_fd, address) = crate::socket::listen(0).unwrap();
        assert!(Probe::own().files().unwrap() > 3);
        assert!(Probe::own().listening().unwrap().contains(&address));
    }
}
