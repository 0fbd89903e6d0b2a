//! The programs that must be installed.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Where they are.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) redis: PathBuf,
    pub(super) rabbitmq: PathBuf,
    /// Tells Erlang's programs where to find each other; RabbitMQ cannot do without.
    pub(super) epmd: PathBuf,
}

/// Scripts that run as whoever calls them. On Debian and Fedora those on the `PATH` switch to a user of their own first,
/// which only root may.
const RABBITMQ_ITSELF: &str = "/usr/lib/rabbitmq/bin";

/// Where administrators' programs are, for users who do not have them on their `PATH`.
const FOR_ADMINISTRATORS: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"];

impl Programs {
    /// Looks for them; what is not there is told with the command that installs it.
    pub(super) fn find() -> Result<Self, String> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        Self::among(&path, &[RABBITMQ_ITSELF], &FOR_ADMINISTRATORS)
    }

    fn among(path: &OsStr, before: &[&str], after: &[&str]) -> Result<Self, String> {
        let path: Vec<PathBuf> = std::env::split_paths(path).collect();
        let look = |name: &str, before: &[&str]| {
            let folders = before.iter().map(Path::new).chain(path.iter().map(PathBuf::as_path));
            let mut files = folders.chain(after.iter().map(Path::new)).map(|folder| folder.join(name));
            files.find(|file| file.is_file())
        };
        let redis = look("redis-server", &[]).or_else(|| look("valkey-server", &[]));
        let (rabbitmq, epmd) = (look("rabbitmq-server", before), look("epmd", &[]));
        match (redis, rabbitmq, epmd) {
            (Some(redis), Some(rabbitmq), Some(epmd)) => Ok(Self { redis, rabbitmq, epmd }),
            (redis, rabbitmq, epmd) => Err(hint(redis.is_none(), rabbitmq.is_none(), epmd.is_none())),
        }
    }
}

fn hint(redis: bool, rabbitmq: bool, epmd: bool) -> String {
    let missing = |names: [&'static str; 3]| -> Vec<&'static str> {
        [redis, rabbitmq, epmd && !rabbitmq]
            .iter()
            .zip(names)
            .filter(|(missing, _)| **missing)
            .map(|(_, name)| name)
            .collect()
    };
    let programs = missing(["redis-server", "rabbitmq-server", "epmd (a part of Erlang)"]).join(" and ");
    let debian = missing(["redis-server", "rabbitmq-server", "erlang-base"]).join(" ");
    let fedora = missing(["redis", "rabbitmq-server", "erlang"]).join(" ");
    let homebrew = missing(["redis", "rabbitmq", "erlang"]).join(" ");
    format!(
        "`stampede dev` runs a private Redis and a private RabbitMQ, and this machine has no {programs}.\n  \
         Debian, Ubuntu   apt-get install {debian}\n  \
         Fedora           dnf install {fedora}\n  \
         macOS            brew install {homebrew}\n\
         It uses the programs alone: services that the packages start may be stopped."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_with_what_installs_it() {
        let told = Programs::among(OsStr::new("/nowhere"), &[], &[]).unwrap_err();
        assert!(told.contains("has no redis-server and rabbitmq-server."), "{told}");
        assert!(told.contains("apt-get install redis-server rabbitmq-server\n"), "{told}");
        assert!(hint(true, false, false).contains("apt-get install redis-server\n"));
    }
}
