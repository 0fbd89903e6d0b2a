//! What the kernel says about the server's process.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::{Error, Result};

/// User and system time of a process so far, all its threads together.
///
/// The kernel counts in nanoseconds and prints hundredths of a second: measure for long enough.
///
/// # Errors
///
/// Where there is no such process.
pub fn cpu(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).map_err(Error::system(format!("reading {path}")))?;
    cpu_of(&stat).ok_or_else(|| Error::Usage(format!("{path} reads {stat:?}")))
}

/// The same for a process and all that belong to the process group which it leads.
///
/// # Errors
///
/// Where nothing can be read of any process.
pub fn cpu_of_group(leader: u32) -> Result<Duration> {
    let listed = fs::read_dir("/proc").map_err(Error::system("reading /proc"))?;
    let stats = listed.flatten().filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    Ok(stats.filter(|stat| group_of(stat) == Some(leader)).filter_map(|stat| cpu_of(&stat)).sum())
}

/// User and system time of this thread so far.
#[must_use]
pub fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

/// Time that all cores together were busy so far, or taken by another machine on the same hardware.
///
/// # Errors
///
/// Where `/proc/stat` cannot be read.
pub fn machine() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat").map_err(Error::system("reading /proc/stat"))?;
    busy_of(&stat).ok_or_else(|| Error::Usage("/proc/stat has no line for all cores".to_owned()))
}

/// Resident memory of a process in bytes.
///
/// # Errors
///
/// Where there is no such process.
pub fn rss(pid: u32) -> Result<u64> {
    // smaps_rollup walks the pages; VmRSS in status is a sum of per-CPU counters that lag behind.
    let path = format!("/proc/{pid}/smaps_rollup");
    let (path, text) = match fs::read_to_string(&path) {
        Ok(text) => (path, text),
        Err(_) => {
            let path = format!("/proc/{pid}/status");
            let text = fs::read_to_string(&path).map_err(Error::system(format!("reading {path}")))?;
            (path, text)
        }
    };
    rss_of(&text).ok_or_else(|| Error::Usage(format!("no resident size in {path}")))
}

/// A span of work: its wall time, and what the server and we ourselves spent on it.
#[derive(Debug)]
pub struct Meter {
    pid: Option<u32>,
    since: Instant,
    server: Duration,
    own: Duration,
}

/// What a [`Meter`] read.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// Wall time.
    pub wall: Duration,
    /// CPU time of the server, where its process is known.
    pub server: Option<Duration>,
    /// CPU time of this process.
    pub own: Duration,
}

impl Reading {
    /// Adds another span.
    pub fn add(&mut self, other: &Self) {
        self.wall += other.wall;
        self.own += other.own;
        self.server = self.server.zip(other.server).map(|(one, two)| one + two);
    }
}

impl Meter {
    /// Starts now.
    ///
    /// # Errors
    ///
    /// Where `pid` is no process.
    pub fn start(pid: Option<u32>) -> Result<Self> {
        let server = pid.map_or(Ok(Duration::ZERO), cpu)?;
        Ok(Self { pid, since: Instant::now(), server, own: cpu(std::process::id())? })
    }

    /// Reads what was spent since the start.
    ///
    /// # Errors
    ///
    /// Where the server is gone.
    pub fn read(&self) -> Result<Reading> {
        let wall = self.since.elapsed();
        let server = self.pid.map(cpu).transpose()?.map(|now| now.saturating_sub(self.server));
        Ok(Reading { wall, server, own: cpu(std::process::id())?.saturating_sub(self.own) })
    }
}

fn cpu_of(stat: &str) -> Option<Duration> {
    // The name in parentheses may hold anything; utime and stime are fields 14 and 15, the state behind it is 3.
    let fields = stat.rsplit_once(')')?.1;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    // USER_HZ is 100 on every architecture that runs Linux today.
    Some(Duration::from_millis((user + system) * 10))
}

fn busy_of(stat: &str) -> Option<Duration> {
    // user nice system idle iowait irq softirq steal; time of guests is in the first two already.
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<u64> = line.split_ascii_whitespace().take(8).map_while(|field| field.parse().ok()).collect();
    let busy = fields.iter().enumerate().filter(|(nth, _)| !matches!(nth, 3 | 4)).map(|(_, ticks)| ticks).sum::<u64>();
    Some(Duration::from_millis(busy * 10))
}

fn group_of(stat: &str) -> Option<u32> {
    // State, parent, process group.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(2)?.parse().ok()
}

fn rss_of(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:").or_else(|| line.strip_prefix("VmRSS:")))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_user_and_system_time() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194304 100 0 0 0 123 45 6 7 20 0 1 0 100 1000 10";
        assert_eq!(cpu_of(stat), Some(Duration::from_millis(1680)));
        assert_eq!(cpu_of("7 (a"), None);
        assert_eq!(group_of(stat), Some(7));
    }

    #[test]
    fn a_machine_is_busy_when_it_is_not_idle() {
        let stat = "cpu  1 2 4 8 16 32 64 128 256 512\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(busy_of(stat), Some(Duration::from_millis(2310)));
        assert_eq!(busy_of("intr 1 2"), None);
    }

    #[test]
    fn resident_size_is_read_from_either_file() {
        assert_eq!(rss_of("x-y ---p [rollup]\nRss:                2044 kB\n"), Some(2044 << 10));
        assert_eq!(rss_of("Name:\tx\nVmRSS:\t    1708 kB\n"), Some(1708 << 10));
        assert_eq!(rss_of("Name:\tx\n"), None);
    }

    #[test]
    fn this_process_can_be_read() {
        assert!(rss(std::process::id()).unwrap() > 0);
        assert!(cpu(std::process::id()).is_ok());
        assert!(cpu(u32::MAX).is_err());
    }
}
