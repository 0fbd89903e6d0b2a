//! Where keys come from: the configuration, a file, or a URL. The latter two are read again and again, and on SIGHUP; a file also
//! when it changes.
//!
//! What cannot be read leaves the last good set in force. As long as there was none, nobody is let in.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::http::Client;
use super::keys::Keys;
use crate::config::identity::Jwt;
use crate::reload::Reload;
use crate::telemetry::{count, metrics};

/// Largest set in octets.
const MAX_SET: usize = 256 << 10;
/// How long a URL may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait before the set is looked at again because of a key that it does not hold: whoever sends tokens with invented
/// names must not make us ask all the time.
const LEAST_PAUSE: Duration = Duration::from_secs(10);
/// How often a set is looked for that was never there.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The keys that are good now.
#[derive(Debug)]
pub(super) struct KeySource {
    keys: RwLock<Option<Arc<Keys>>>,
    /// None for keys that never change.
    refresh: Option<Refresh>,
}

#[derive(Debug)]
struct Refresh {
    wanted: Arc<Notify>,
    looked: Notify,
    last: RwLock<Option<Instant>>,
}

enum Place {
    /// And what it was at the last look, octets or error.
    File(PathBuf, Option<Result<Vec<u8>, String>>),
    Url(String, Client),
}

impl KeySource {
    /// Reads what can be read now; what is elsewhere is fetched in the background, for as long as the result lives.
    pub(super) fn new(config: &Jwt) -> Result<Arc<Self>, String> {
        if let Some(keys) = Keys::fixed(config)? {
            return Ok(Arc::new(Self { keys: RwLock::new(Some(Arc::new(keys))), refresh: None }));
        }
        let (place, first) = match (&config.jwks_file, &config.jwks_url) {
            (Some(path), _) => {
                let read = read_file(path).and_then(|text| Keys::of_set(&text, config));
                let first = read.map_err(|what| format!("jwks_file: {}: {what}", path.display()))?;
                (Place::File(path.clone(), None), Some(Arc::new(first)))
            }
            (None, Some(url)) => {
                let client = Client::new(config.ca_file.as_deref()).map_err(|what| format!("ca_file: {what}"))?;
                (Place::Url(url.clone(), client), None)
            }
            (None, None) => return Err("secret: there is no key".into()),
        };
        let wanted = Arc::new(Notify::new());
        let refresh = Refresh { wanted: Arc::clone(&wanted), looked: Notify::new(), last: RwLock::default() };
        let source = Arc::new(Self { keys: RwLock::new(first), refresh: Some(refresh) });
        // Without a runtime the configuration is only being checked.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let reload = Reload::listen();
            runtime.spawn(keep(Arc::downgrade(&source), wanted, reload, place, config.clone()));
        }
        Ok(source)
    }

    /// The keys; none as long as they could not be fetched.
    pub(super) fn keys(&self) -> Option<Arc<Keys>> {
        self.keys.read().clone()
    }

    /// Has the set looked at again, unless that was done just now, and waits for it. `false` where nothing can have changed.
    pub(super) async fn look_again(&self) -> bool {
        let Some(refresh) = &self.refresh else { return false };
        let looked = refresh.looked.notified();
        if refresh.last.read().is_some_and(|last| last.elapsed() < LEAST_PAUSE) {
            return false;
        }
        refresh.wanted.notify_one();
        tokio::time::timeout(TIMEOUT, looked).await.is_ok()
    }

    /// What was read is good from now on, or what was good stays so.
    fn take(&self, read: Result<Keys, String>) {
        match read {
            Ok(keys) => {
                *self.keys.write() = Some(Arc::new(keys));
                count(&metrics().key_sets, "read");
            }
            Err(error) => {
                count(&metrics().key_sets, "failed");
                tracing::warn!(error, "the keys of identity.jwt cannot be read; those read last stay good");
            }
        }
        if let Some(refresh) = &self.refresh {
            *refresh.last.write() = Some(Instant::now());
            refresh.looked.notify_waiters();
        }
    }
}

impl Place {
    /// What there is to read: where nobody asked, only what has changed.
    async fn look(&mut self, asked: bool) -> Option<Result<Vec<u8>, String>> {
        match self {
            Self::Url(url, client) if asked => Some(client.get(url, MAX_SET, TIMEOUT).await),
            Self::Url(..) => None,
            Self::File(path, last) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read_file(&path)).await;
                let read = read.unwrap_or_else(|error| Err(error.to_string()));
                if !asked && last.as_ref() == Some(&read) {
                    return None;
                }
                *last = Some(read.clone());
                Some(read)
            }
        }
    }
}

/// Looks at the set as long as somebody has it. The source is not held while waiting: it may go meanwhile.
async fn keep(source: Weak<KeySource>, wanted: Arc<Notify>, mut reload: Reload, mut place: Place, config: Jwt) {
    let mut asked = true;
    let mut refresh_at = Instant::now();
    loop {
        let read = place.look(asked).await;
        let Some(source) = source.upgrade() else { return };
        if let Some(read) = read {
            source.take(read.and_then(|text| Keys::of_set(&text, &config)));
            let pause = match source.keys().is_some() {
                true => config.jwks_refresh,
                false => FIRST_PAUSE.min(config.jwks_refresh),
            };
            refresh_at = Instant::now() + pause;
        }
        drop(source);
        asked = tokio::select! {
            asked = reload.due() => asked,
            () = wanted.notified() => true,
            () = tokio::time::sleep_until(refresh_at) => true,
        };
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > MAX_SET as u64 {
        return Err(format!("has {size} octets, more than {MAX_SET}"));
    }
    std::fs::read(path).map_err(|error| error.to_string())
}
