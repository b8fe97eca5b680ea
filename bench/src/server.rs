//! The server under test: starting and stopping it.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, kill_process_group, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::profile::Profile;
use crate::usage;

/// Open files asked for.
const OPEN_FILES: u64 = 200_000;

/// A started server, stopped when it is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
}

/// Keeps the calling thread, and what it starts, on one CPU.
pub fn pin(cpu: usize) -> Result<(), String> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).map_err(|e| format!("pinning to CPU {cpu}: {e}"))
}

/// Allows as many open files as the measures need, or as the system grants, to this process and to what it starts.
pub fn raise_open_files() {
    let wanted = |files| Rlimit { current: Some(files), maximum: Some(files) };
    if setrlimit(Resource::Nofile, wanted(OPEN_FILES)).is_err() {
        let granted = getrlimit(Resource::Nofile).maximum.unwrap_or(OPEN_FILES);
        if let Err(e) = setrlimit(Resource::Nofile, wanted(granted)) {
            crate::say(&format!("the limit of open files stays as it is: {e}"));
        }
    }
}

impl Server {
    /// Starts the profile's server, on `cpu` if given, and waits for its ports.
    pub fn start(profile: &Profile, dir: &Path, cpu: Option<usize>) -> Result<Server, String> {
        let addrs = [&profile.subscriber.addr, &profile.publisher.addr];
        for addr in addrs {
            if TcpStream::connect(addr.as_str()).is_ok() {
                return Err(format!("something already listens on {addr}"));
            }
        }
        let command = command(profile, dir)?;
        let mut server = Server { child: spawn(command, cpu)? };
        let end = Instant::now() + Duration::from_secs(profile.server.wait.unwrap_or(20));
        for addr in addrs {
            server.await_port(addr, end)?;
        }
        std::thread::sleep(Duration::from_millis(300 + profile.server.settle_ms));
        Ok(server)
    }

    fn await_port(&mut self, addr: &str, end: Instant) -> Result<(), String> {
        while TcpStream::connect(addr).is_err() {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("server ended: {status}"));
            }
            if Instant::now() > end {
                return Err(format!("nothing listens on {addr}"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The started process and all its descendants.
    pub fn pids(&self) -> Vec<i32> {
        let all = usage::parents();
        let mut set = BTreeSet::from([self.child.id() as i32]);
        loop {
            let before = set.len();
            for (pid, parent) in &all {
                if set.contains(parent) {
                    set.insert(*pid);
                }
            }
            if set.len() == before {
                return set.into_iter().collect();
            }
        }
    }
}

fn command(profile: &Profile, dir: &Path) -> Result<Command, String> {
    let (program, args) = profile.server.start.split_first().ok_or("the profile has no server.start")?;
    let log = std::env::temp_dir().join(format!("throughline-bench-{}.log", profile.name));
    let log = fs::File::create(log).map_err(|e| e.to_string())?;
    let copy = log.try_clone().map_err(|e| e.to_string())?;
    let mut command = Command::new(program);
    if let Some(dir) = std::env::current_exe().ok().as_deref().and_then(Path::parent) {
        command.env("BENCH_BIN", dir);
    }
    // The other end closes with this process, however it ends; by that peer.sh knows.
    command.args(args).current_dir(dir).stdin(Stdio::piped()).stdout(copy).stderr(log).process_group(0);
    Ok(command)
}

/// A child takes over the CPU of the thread that starts it.
fn spawn(mut command: Command, cpu: Option<usize>) -> Result<Child, String> {
    let starter = std::thread::spawn(move || {
        cpu.map_or(Ok(()), pin)?;
        command.spawn().map_err(|e| format!("{}: {e}", command.get_program().display()))
    });
    starter.join().map_err(|_| "starting the server panicked".to_owned())?
}

impl Drop for Server {
    fn drop(&mut self) {
        let pids = self.pids();
        let pid = |raw: i32| Pid::from_raw(raw);
        if let Some(group) = pid(self.child.id() as i32) {
            let _ = kill_process_group(group, Signal::TERM);
        }
        let end = Instant::now() + Duration::from_secs(3);
        while Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        for left in pids.into_iter().filter_map(pid) {
            let _ = kill_process(left, Signal::KILL);
        }
        let _ = self.child.wait();
        std::thread::sleep(Duration::from_millis(100));
    }
}
