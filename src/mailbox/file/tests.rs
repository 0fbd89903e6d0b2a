use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use redb::StorageBackend;
use redb::backends::FileBackend;

use super::*;

type Kept = BTreeMap<(String, u64), Bytes>;

#[test]
fn keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    crate::mailbox::contract::check(&open(&dir));
    assert_eq!(load(&open(&dir)).len(), 97);
}

#[test]
fn what_was_appended_and_not_removed_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    append(&store, "/queue/b", 7, "seven").unwrap();
    append(&store, "/queue/a", 300, "later").unwrap();
    append(&store, "/queue/a", 2, "two").unwrap();
    store.flush().unwrap();
    store.remove("/queue/b", &[7]);
    drop(store);

    let store = open(&dir);
    let expected = [(("/queue/a".into(), 2), "two".into()), (("/queue/a".into(), 300), "later".into())];
    assert_eq!(load(&store), Kept::from(expected));
}

#[test]
fn a_second_process_is_told_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(&dir);
    let error = FileStore::open(dir.path(), usize::MAX).unwrap_err();
    assert!(matches!(&error, StoreError::InUse { path } if path.ends_with("stampede.redb")), "{error}");
    assert!(error.to_string().contains("data_dir of its own"), "{error}");
}

#[test]
fn a_directory_that_cannot_be_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = FileStore::open(&file.path().join("below"), usize::MAX).unwrap_err();
    assert!(error.to_string().contains("below"), "{error}");
}

#[test]
fn a_full_inbox_refuses_at_once_and_names_the_limit() {
    let (store, disk) = on_a_disk(2 * OP_OVERHEAD_BYTES + 100);
    let busy = disk.hold();
    append(&store, "/q", 0, "first").unwrap();
    append(&store, "/q", 1, "second").unwrap();
    let error = append(&store, "/q", 2, &"x".repeat(100)).unwrap_err();
    assert!(matches!(error, StoreError::Busy { .. }) && error.to_string().contains("mailbox.write_buffer"), "{error}");
    store.remove("/q", &[0]);
    drop(busy);
    store.flush().unwrap();
    append(&store, "/q", 2, &"x".repeat(100)).unwrap();
    let kept: Vec<_> = load(&store).into_keys().map(|(_, seq)| seq).collect();
    assert_eq!(kept, [1, 2]);
}

#[test]
fn a_message_removed_before_it_was_written_never_touches_the_disk() {
    let (store, disk) = on_a_disk(usize::MAX);
    append(&store, "/q", 0, "kept").unwrap();
    store.flush().unwrap();
    disk.broken.store(true, Ordering::SeqCst);
    // Both operations must be in one group: the writer is kept from taking the first alone.
    {
        let mut inbox = store.shared.inbox.lock();
        let done = Done::new(Box::new(|result| assert!(result.is_ok(), "{result:?}")));
        inbox.take(Op::Append { queue: "/q".into(), seq: 1, record: "fleeting".into(), bytes: 0, done });
        inbox.take(Op::Remove { queue: "/q".into(), seqs: [1].into() });
    }
    store.shared.work.notify_one();
    store.flush().unwrap();
}

#[test]
fn a_failed_write_is_told_and_a_disk_that_recovers_is_used_again() {
    let (store, disk) = on_a_disk(usize::MAX);
    append(&store, "/q", 0, "before").unwrap();
    store.flush().unwrap();

    disk.broken.store(true, Ordering::SeqCst);
    let (told, results) = mpsc::channel();
    store.append("/q", 1, "lost".into(), Box::new(move |result| told.send(result).unwrap())).unwrap();
    assert!(matches!(results.recv().unwrap(), Err(StoreError::Failed(_))));
    assert!(append(&store, "/q", 2, "lost too").is_ok() && store.flush().is_err());

    disk.broken.store(false, Ordering::SeqCst);
    append(&store, "/q", 3, "after").unwrap();
    store.flush().unwrap();
    let kept: Vec<_> = load(&store).into_keys().map(|(_, seq)| seq).collect();
    assert_eq!(kept, [0, 3]);
}

/// The child is this test again, with a directory in its environment: it appends until it is killed, removes every third
/// record, and prints each number once the append is durable.
#[test]
fn completed_appends_survive_kill_9() {
    const DIR: &str = "STAMPEDE_TEST_KILL_9_DIR";
    if let Some(dir) = std::env::var_os(DIR) {
        append_for_ever(&FileStore::open(Path::new(&dir), 1 << 20).unwrap());
    }
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["mailbox::file::tests::completed_appends_survive_kill_9", "--exact", "--nocapture"])
        .env(DIR, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let number = |line: String| line.strip_prefix("durable ").and_then(|seq| seq.parse::<u64>().ok());
    let mut durable: BTreeSet<u64> = lines.by_ref().filter_map(number).take(500).collect();
    child.kill().unwrap();
    // What it had printed before it died counts as well. No line is cut: a pipe takes one so short as a whole.
    durable.extend(lines.filter_map(number));
    child.wait().unwrap();

    let kept: BTreeSet<u64> = load(&open(&dir)).into_keys().map(|(_, seq)| seq).collect();
    let lost: Vec<_> = durable.iter().filter(|seq| **seq % 3 != 0 && !kept.contains(seq)).collect();
    assert!(durable.len() >= 500 && lost.is_empty(), "lost {lost:?} of {}", durable.len());
}

fn append_for_ever(store: &FileStore) -> ! {
    for seq in 0.. {
        let done = Box::new(move |result: Result<(), StoreError>| {
            result.unwrap();
            // One write per line, past the harness and its capture.
            io::stdout().lock().write_all(format!("durable {seq:08}\n").as_bytes()).unwrap();
        });
        match store.append("/queue/kill-9", seq, format!("record {seq}").into(), done) {
            Err(StoreError::Busy { .. }) => store.flush().unwrap(),
            result => result.unwrap(),
        }
        if seq % 3 == 0 {
            store.remove("/queue/kill-9", &[seq]);
        }
    }
    unreachable!("numbers do not run out");
}

/// A file whose writes can be made to fail or to wait.
#[derive(Debug)]
struct Disk {
    broken: AtomicBool,
    gate: Mutex<()>,
}

#[derive(Debug)]
struct OnDisk {
    file: FileBackend,
    disk: Arc<Disk>,
}

impl Disk {
    fn hold(&self) -> parking_lot::MutexGuard<'_, ()> {
        self.gate.lock()
    }

    fn work(&self) -> io::Result<()> {
        let _passed = self.gate.lock();
        if self.broken.load(Ordering::SeqCst) {
            Err(io::Error::other("no space left on the test disk"))
        } else {
            Ok(())
        }
    }
}

impl StorageBackend for OnDisk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.work()?;
        self.file.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.disk.work()?;
        self.file.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.work()?;
        self.file.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

fn on_a_disk(max_bytes: usize) -> (FileStore, Arc<Disk>) {
    let file = tempfile::tempfile().unwrap();
    let disk = Arc::new(Disk { broken: AtomicBool::new(false), gate: Mutex::new(()) });
    let its_disk = Arc::clone(&disk);
    let open = move || {
        let failed = |error| StoreError::Failed(Arc::new(error));
        let file = FileBackend::new(file.try_clone().unwrap()).map_err(failed)?;
        Builder::new().create_with_backend(OnDisk { file, disk: Arc::clone(&its_disk) }).map_err(failed)
    };
    (FileStore::start(Box::new(open), max_bytes).unwrap(), disk)
}

fn open(dir: &tempfile::TempDir) -> FileStore {
    FileStore::open(dir.path(), usize::MAX).unwrap()
}

fn append(store: &FileStore, queue: &str, seq: u64, record: &str) -> Result<(), StoreError> {
    store.append(queue, seq, Bytes::copy_from_slice(record.as_bytes()), Box::new(|_| {}))
}

fn load(store: &FileStore) -> Kept {
    let mut kept = Kept::new();
    store.load(&mut |queue, seq, record| assert!(kept.insert((queue.into(), seq), record).is_none())).unwrap();
    kept
}
