//! `[server.tls]`: the node ends TLS itself.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Both files are read again when they change and on SIGHUP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate and those between it and a root, in PEM form, the node's own first.
    pub certificate: PathBuf,
    /// Its private key, in PEM form.
    pub key: PathBuf,
}
