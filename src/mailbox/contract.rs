//! What every store must do; each implementation's tests run it.

use std::sync::mpsc;

use super::{KeepStore, StoreError};

/// Fails the test when an empty store does not keep the contract of [`KeepStore`]. The store is closed afterwards.
pub(super) fn check(store: &dyn KeepStore) {
    let (told, results) = mpsc::channel();
    for seq in 0..100 {
        let told = told.clone();
        let done = Box::new(move |result: Result<(), StoreError>| told.send((seq, result.is_ok())).unwrap());
        store.append("/queue/a", seq, "record".into(), done).unwrap();
    }
    store.remove("/queue/a", &[0, 50, 99]);
    store.remove("/queue/never-seen", &[1]);
    store.flush().unwrap();
    let mut completed: Vec<_> = results.try_iter().collect();
    completed.sort_unstable();
    assert_eq!(completed, (0..100).map(|seq| (seq, true)).collect::<Vec<_>>(), "each append completes once");

    store.close().unwrap();
    store.close().unwrap();
    let never = Box::new(|_| panic!("a refused append does not complete"));
    assert!(matches!(store.append("/queue/a", 100, "late".into(), never), Err(StoreError::Closed)));
    store.remove("/queue/a", &[1]);
}
