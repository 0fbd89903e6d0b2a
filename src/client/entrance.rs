//! How to get into a server, from the command line.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use stampede_load::trust::Trust;
use tokio_rustls::TlsConnector;

use super::target::Target;
use super::wire::Access;

/// Arguments of every tool that connects as a client.
#[derive(Debug, Args)]
#[command(next_help_heading = "The server")]
pub struct Entrance {
    /// The login header of CONNECT
    #[arg(long)]
    login: Option<String>,
    /// The passcode header of CONNECT
    #[arg(long, requires = "login")]
    passcode: Option<String>,
    /// The host header of CONNECT, which is the virtual host for some servers [default: that of the URL]
    #[arg(long, value_name = "NAME")]
    vhost: Option<String>,
    /// A further header of CONNECT, such as Authorization; may be repeated
    #[arg(long = "connect-header", value_name = "NAME:VALUE", value_parser = header)]
    connect: Vec<String>,
    /// A further header of the WebSocket handshake and of every request, such as Cookie; may be repeated
    #[arg(long = "handshake-header", value_name = "NAME:VALUE", value_parser = header)]
    handshake: Vec<String>,
    /// Certificates to believe, in PEM form, instead of the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Believe any certificate
    #[arg(long, conflicts_with = "ca_file")]
    insecure: bool,
}

/// A server, and how to get in.
#[derive(Debug, Clone)]
pub struct Way {
    /// Where it is.
    pub target: Arc<Target>,
    /// How to connect.
    pub access: Access,
    /// `host` of CONNECT.
    pub host: String,
    /// `login` and `passcode` of CONNECT.
    pub login: Option<(String, String)>,
    /// Further header lines of CONNECT, as they are written.
    pub connect: Vec<String>,
}

impl Entrance {
    /// The way to the server behind a URL.
    ///
    /// # Errors
    ///
    /// Where the URL is none, or there is nobody to believe.
    pub fn way(self, url: &str) -> Result<Way, String> {
        let target: Target = url.parse()?;
        let trust = Trust { ca_file: self.ca_file, insecure: self.insecure };
        let config = target.tls.then(|| trust.client_config()).transpose();
        let tls = config.map_err(|error| error.to_string())?.map(TlsConnector::from);
        let pair = |line: String| {
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            (name.to_owned(), value.trim().to_owned())
        };
        Ok(Way {
            host: self.vhost.unwrap_or_else(|| target.host.clone()),
            access: Access { tls, headers: self.handshake.into_iter().map(pair).collect(), patience: None },
            target: Arc::new(target),
            login: self.login.map(|login| (login, self.passcode.unwrap_or_default())),
            connect: self.connect,
        })
    }
}

/// Reads a header line as people write it: one line, a name, a colon.
///
/// # Errors
///
/// Where it is none.
pub fn header(text: &str) -> Result<String, String> {
    let fits = text.split_once(':').is_some_and(|(name, _)| !name.is_empty()) && !text.contains(['\n', '\r', '\0']);
    if fits { Ok(text.to_owned()) } else { Err("a header is NAME:VALUE, on one line".to_owned()) }
}
