//! `[server.tls]`: the node ends TLS itself.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::units;

/// Both files are read again when they change and on SIGHUP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate and those between it and a root, in PEM form, the node's own first.
    pub certificate: PathBuf,
    /// Its private key, in PEM form.
    pub key: PathBuf,
    /// How long browsers are to ask this host by TLS alone, on every port of it. Default 0: nothing is said, because other
    /// services of the host may have no TLS, and a browser does not forget it before its time.
    #[serde(with = "units::duration", default)]
    pub strict_transport_security: Duration,
}
