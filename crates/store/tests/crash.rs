//! The process dies at any moment, and the journal ends in anything: what was answered is there, once and in order.
//!
//! The child is this test binary, started again with an environment variable; it publishes and reports each answer.
#![allow(clippy::unwrap_used, reason = "a failure is the test's failure")]

mod common;

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::*;
use throughline_engine::store::{Append, Store};
use throughline_store::{FjallStore, OpenError};
use throughline_wire::event::{Data, Eid};

const CHILD: &str = "THROUGHLINE_STORE_CRASH_CHILD";
const CYCLES: u64 = 40;
/// Appends under way at once in each channel.
const UNDER_WAY: u64 = 64;
const CHANNELS: u32 = 2;

/// Not a test of its own: the process that is killed. Without the variable it has nothing to do.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let store = open(Path::new(&dir));
    let known = store.channels().unwrap();
    let threads: Vec<_> = (1..=CHANNELS)
        .map(|channel| {
            let last = known.iter().find(|c| c.record.number == channel).map_or(0, |c| c.last.0);
            put_channel(&store, record(channel)).unwrap();
            let store = Arc::clone(&store);
            std::thread::spawn(move || publish_for_ever(&store, channel, last))
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
}

fn publish_for_ever(store: &Arc<FjallStore>, channel: u32, last: u64) {
    let (to, from) = std::sync::mpsc::channel();
    for eid in last + 1.. {
        let to = to.clone();
        let data = Data::bytes(vec![eid as u8; (eid % 3000) as usize]);
        let done = Box::new(move |outcome: Result<(), _>| {
            outcome.unwrap();
            // One write per line, so that the reader never sees a line of two threads mixed.
            std::io::stdout().write_all(format!("kept {channel} {eid}\n").as_bytes()).unwrap();
            to.send(()).unwrap();
        });
        store.append(Append { channel, event: event(eid, data), origin: origin(channel.into(), eid), done });
        if eid > last + UNDER_WAY {
            from.recv().unwrap();
        }
    }
}

fn start_child(dir: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["child", "--exact", "--nocapture", "--test-threads=1"]).env(CHILD, dir);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Lets a child publish until it has had `answers` answers, kills it, and returns the last EID answered per channel.
fn run_and_kill(dir: &Path, answers: u64) -> [u64; CHANNELS as usize] {
    let mut child = start_child(dir);
    let mut kept = [0; CHANNELS as usize];
    let mut count = 0;
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while let Some(Ok(line)) = lines.next() {
        // The test harness prints on the same line before the first answer.
        let Some(at) = line.find("kept ") else { continue };
        let mut words = line[at..].split(' ').skip(1).map(|w| w.parse::<u64>().unwrap());
        let (channel, eid) = (words.next().unwrap() as usize, words.next().unwrap());
        assert!(eid > kept[channel - 1], "answers come in order");
        kept[channel - 1] = eid;
        count += 1;
        if count == answers {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(count >= answers, "the child ended after {count} answers");
    kept
}

/// Asserts that each channel holds exactly the EIDs from 1 up to one at or above the answered one, undamaged.
fn check(store: &FjallStore, kept: [u64; CHANNELS as usize]) {
    for stored in store.channels().unwrap() {
        let channel = stored.record.number;
        let eids = eids(store, channel);
        assert_eq!(eids, (1..=eids.len() as u64).collect::<Vec<_>>(), "channel {channel}");
        let last = eids.len() as u64;
        assert!(last >= kept[channel as usize - 1], "channel {channel}: {last} stored, {kept:?} answered");
        assert_eq!((stored.events, stored.last), (last, Eid(last)));
        let page = store.read(channel, Eid(last.saturating_sub(50)), 100, usize::MAX).unwrap();
        for event in &page {
            let expected = Data::bytes(vec![event.eid.0 as u8; (event.eid.0 % 3000) as usize]);
            assert_eq!(event.body.data, expected);
        }
        if let Some((_, window)) = stored.windows.first() {
            assert_eq!(window.entries.back(), Some(&(last, Eid(last))), "the window is as new as the events");
            assert_eq!(window.entries.len() as u64, last.min(1024));
        }
    }
}

#[test]
fn killed_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random(0x5eed);
    for _ in 0..CYCLES {
        let kept = run_and_kill(dir.path(), 1 + random.below(400));
        check(&open(dir.path()), kept);
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// The journal that is being written, and where its last commit ends (behind it come zeros).
fn journal(dir: &Path) -> (PathBuf, u64) {
    let number = |p: &PathBuf| p.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse::<u64>().ok());
    let files = std::fs::read_dir(dir.join("fjall")).unwrap().map(|e| e.unwrap().path());
    let path = files.filter(|p| p.extension().is_some_and(|e| e == "jnl")).max_by_key(number).unwrap();
    let mut bytes = Vec::new();
    std::fs::File::open(&path).unwrap().take(WRITTEN_MAX).read_to_end(&mut bytes).unwrap();
    let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at as u64 + 1);
    (path, end)
}

fn write_at(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

fn bytes_at(path: &Path, at: u64, n: usize) -> Vec<u8> {
    let mut file = std::fs::File::open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    let mut bytes = vec![0; n];
    file.read_exact(&mut bytes).unwrap();
    bytes
}

/// The files of a store with events 1 to 20 whose process was killed.
struct Killed {
    dir: tempfile::TempDir,
    /// Where the commit of event 20 begins and ends in the journal.
    start: u64,
    end: u64,
}

impl Killed {
    fn new() -> Killed {
        Killed::with(vec![7; 20_000])
    }

    /// With these data in event 20.
    fn with(data: Vec<u8>) -> Killed {
        let live = tempfile::tempdir().unwrap();
        let store = open(live.path());
        put_channel(&store, record(1)).unwrap();
        fill(&store, 1, 1..=19);
        let (_, start) = journal(live.path());
        append(&store, 1, event(20, Data::bytes(data))).unwrap();
        let (_, end) = journal(live.path());
        // A copy of the files of an open store is what a kill leaves.
        let dir = tempfile::tempdir().unwrap();
        copy_all(live.path(), dir.path());
        Killed { dir, start, end }
    }

    /// A copy to be spoiled, and its journal.
    fn copy(&self) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        copy_all(self.dir.path(), dir.path());
        let (path, _) = journal(dir.path());
        (dir, path)
    }
}

/// Opens what was made of a killed store, and asserts that exactly `events` are there and that it can be written again.
fn opens_with(dir: &Path, events: u64, what: &str) {
    let store = open(dir);
    assert_eq!(eids(&store, 1), (1..=events).collect::<Vec<_>>(), "{what}");
    append(&store, 1, text(100)).unwrap();
    drop(store);
    assert_eq!(eids(&open(dir), 1).last(), Some(&100), "{what}");
}

#[test]
fn garbage_behind_the_last_commit_costs_nothing() {
    let mut random = Random(7);
    let noise: Vec<u8> = (0..5000).map(|_| random.below(256) as u8).collect();
    let tails: [(&str, Vec<u8>); 6] = [
        ("noise", noise.clone()),
        ("start of a batch, then noise", [&[1, 2, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0][..], &noise].concat()),
        ("item of 4 GiB", [&[1, 1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0][..], &[0xff; 40]].concat()),
        ("end without a start", [&[3][..], &[0; 8], b"FJL\x03"].concat()),
        ("empty batch with a wrong sum", [&[1][..], &[0; 12], &[3], &[9; 8], b"FJL\x03"].concat()),
        ("a single byte", vec![1]),
    ];
    let killed = Killed::new();
    for (what, tail) in tails {
        for cut_zeros in [false, true] {
            let (dir, path) = killed.copy();
            if cut_zeros {
                OpenOptions::new().write(true).open(&path).unwrap().set_len(killed.end).unwrap();
            }
            write_at(&path, killed.end, &tail);
            opens_with(dir.path(), 20, what);
        }
    }
}

#[test]
fn a_torn_last_commit_is_left_out_and_the_others_stay() {
    let killed = Killed::new();
    let (_dir, path) = killed.copy();
    let commit = bytes_at(&path, killed.start, (killed.end - killed.start) as usize);
    let (total, page) = (commit.len(), 4096);
    let mut holed = commit.clone();
    holed[page..2 * page].fill(0);
    let tail_only = [&vec![0; total - page][..], &commit[total - page..]].concat();
    let mut cases = vec![("pages missing in the middle", holed), ("only the end is there", tail_only)];
    for keep in [1, 13, 40, total / 2, total - 1] {
        cases.push(("cut short", commit[..keep].to_vec()));
    }
    for (what, torn) in cases {
        for cut_zeros in [false, true] {
            let (dir, path) = killed.copy();
            write_at(&path, killed.start, &vec![0; total]);
            if cut_zeros {
                OpenOptions::new().write(true).open(&path).unwrap().set_len(killed.start).unwrap();
            }
            write_at(&path, killed.start, &torn);
            opens_with(dir.path(), 19, what);
        }
    }
}

#[test]
fn an_event_that_looks_like_a_commit_is_none() {
    // The end of a batch, then a whole one without items: its sum is that of nothing.
    let forged = [&b"FJL\x03"[..], &[1], &[0; 12], &[3], &0x2d06_8005_38d3_94c2_u64.to_le_bytes(), b"FJL\x03"].concat();
    let killed = Killed::with([&[7; 100][..], &forged, &[7; 20_000]].concat());
    let (dir, path) = killed.copy();
    write_at(&path, killed.end - 1, &[0]);
    opens_with(dir.path(), 19, "torn");
}

/// Also where the file of the store's id is gone, as in a store that was written before there were ids, or is that of another store.
#[test]
fn damage_before_the_last_commit_is_reported_and_nothing_is_cut() {
    for id in ["own", "none", "foreign"] {
        let killed = Killed::new();
        let (dir, path) = killed.copy();
        let file = dir.path().join("id");
        let own = std::fs::read(&file).unwrap();
        match id {
            "none" => std::fs::remove_file(&file).unwrap(),
            "foreign" => std::fs::write(&file, [7; 16]).unwrap(),
            _ => {}
        }
        let at = killed.start - 60;
        let before = bytes_at(&path, at, 1)[0];
        write_at(&path, at, &[before ^ 1]);
        let length = std::fs::metadata(&path).unwrap().len();
        let refused = FjallStore::open(settings(dir.path()), NOW).unwrap_err();
        let named = matches!(&refused, OpenError::Corrupt(at, text) if at == dir.path() && text.contains("jnl"));
        assert!(named, "{refused}");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), length);
        write_at(&path, at, &[before]);
        opens_with(dir.path(), 20, "repaired");
        assert_eq!(std::fs::read(&file).unwrap(), own, "{id}: the store knows its id");
    }
}

#[test]
fn readers_run_beside_commits_and_miss_nothing_that_was_answered() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    put_channel(&store, record(1)).unwrap();
    let asked = Arc::new(AtomicU64::new(0));
    let reader = {
        let (store, asked) = (Arc::clone(&store), Arc::clone(&asked));
        std::thread::spawn(move || {
            let mut seen = 0;
            while seen < 3000 {
                for event in store.read(1, Eid(seen), 64, usize::MAX).unwrap() {
                    assert_eq!(event.eid.0, seen + 1);
                    seen = event.eid.0;
                }
                assert!(seen <= asked.load(Ordering::SeqCst));
            }
        })
    };
    let outcomes = Outcomes::new();
    for eid in 1..=3000 {
        asked.store(eid, Ordering::SeqCst);
        outcomes.append(&store, 1, text(eid), None);
        if eid % 100 == 0 {
            assert!(outcomes.take(100).into_iter().all(|(_, o)| o.is_ok()));
            assert_eq!(store.read(1, Eid(eid - 1), 10, 1).unwrap().len(), 1, "answered, so it can be read");
        }
    }
    reader.join().unwrap();
}
