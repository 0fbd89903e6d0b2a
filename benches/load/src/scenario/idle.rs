//! Memory of connections that do nothing: before, with them, and after they have left.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{
    Subject,
    storm::{Storm, pools},
};
use crate::{
    Error, Result,
    pool::{Notice, Pool},
    process,
    report::Report,
};

/// Memory per idle subscribed connection
#[derive(Debug, Clone, clap::Args)]
pub struct Idle {
    /// Connections
    #[arg(long, default_value_t = 10_000)]
    pub count: usize,
    /// Destination to subscribe to, {n} standing for the number of the connection
    #[arg(skip = "/topic/bench".to_owned())]
    pub destination: String,
    /// A shell command to run before memory is read, for example one that collects a server's garbage
    #[arg(long, value_name = "COMMAND")]
    pub settle: Option<String>,
    /// Seconds at most until the memory has settled
    #[arg(long, default_value_t = 40.0)]
    pub seconds: f64,
}

impl Idle {
    /// Runs it.
    ///
    /// # Errors
    ///
    /// Where a connection is not made or does not last.
    pub fn run(&self, subject: &Subject) -> Result<Report> {
        let pid = subject.known_pid()?;
        let mut pools = pools(subject, self.count)?;
        let before = self.settled(subject, pid, &mut pools, 0, STILL)?;
        let storm = Storm {
            count: self.count,
            concurrency: CONCURRENCY,
            rate: None,
            seconds: f64::from(u16::MAX),
            warm_up: 0.0,
            destination: self.destination.clone(),
            leaves: false,
        };
        storm.run(subject, &mut pools)?;
        let with = self.settled(subject, pid, &mut pools, self.count, STILL)?;
        for pool in &mut pools {
            for id in pool.ids() {
                pool.close(id)?;
            }
        }
        let closed = Instant::now();
        let after = self.settled(subject, pid, &mut pools, 0, STILL_AFTER)?;
        let waited = closed.elapsed();
        let left: usize = pools.iter().map(Pool::len).sum();
        let each = (with as f64 - before as f64) / self.count.max(1) as f64;
        let kib = |bytes: u64| bytes as f64 / 1024.0;
        let mut report = Report::new(format!("idle, {} connections", self.count));
        report.add("kib_each", each / 1024.0, " KiB each");
        report.add("before_kib", kib(before), " KiB");
        report.add("with_kib", kib(with), " KiB");
        report.add("after_kib", kib(after), " KiB");
        report.add("kept_kib", kib(after) - kib(before), " KiB");
        report.add("waited_s", waited.as_secs_f64(), " s");
        if left > 0 {
            report.note(format!("the server left {left} closed connections open"));
        }
        Ok(report)
    }

    /// Resident memory once it has not moved for `still`; `open` connections must last meanwhile.
    fn settled(&self, subject: &Subject, pid: u32, pools: &mut [Pool], open: usize, still: Duration) -> Result<u64> {
        let give_up = Instant::now() + Duration::from_secs_f64(self.seconds);
        let mut last = process::rss(pid)?;
        let mut since = Instant::now();
        let mut settled = false;
        while Instant::now() < give_up {
            if since.elapsed() >= still {
                let Some(command) = self.settle.as_ref().filter(|_| !settled) else { break };
                settled = true;
                run_shell(command)?;
                since = Instant::now();
            }
            let mut ended = None;
            let pause = Instant::now() + LOOK_EVERY;
            while Instant::now() < pause {
                for pool in &mut *pools {
                    pool.turn(LOOK_EVERY / 10, |_, _, notice| {
                        if let Notice::Ended(reason) = notice {
                            ended = Some(reason);
                        }
                    })?;
                }
            }
            if pools.iter().map(Pool::len).sum::<usize>() < open {
                return Err(Error::Server(format!("an idle connection ended: {}", ended.unwrap_or_default())));
            }
            let now = process::rss(pid)?;
            if now.abs_diff(last) > SAME {
                since = Instant::now();
                last = now;
            }
            subject.progress.line(Instant::now(), || {
                format!("{open} connections, {} KiB resident, waiting until it stands still", now >> 10)
            });
        }
        subject.progress.clear();
        process::rss(pid)
    }
}

fn run_shell(command: &str) -> Result<()> {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::null());
    let status = shell.status().map_err(Error::system(format!("running {command}")))?;
    if status.success() { Ok(()) } else { Err(Error::Usage(format!("{command}: {status}"))) }
}

const CONCURRENCY: usize = 64;
/// Memory that has not moved for so long is taken to have settled.
const STILL: Duration = Duration::from_secs(2);
/// The same after the end: allocators give back what is free only with a delay.
const STILL_AFTER: Duration = Duration::from_secs(12);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Less than this is no movement.
const SAME: u64 = 64 << 10;
