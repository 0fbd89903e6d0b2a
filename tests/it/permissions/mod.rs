//! What clients may not do, tried on one node and on two: refused as documented, and nobody else notices.

mod attacks;
mod frames;
mod profiles;

use std::net::SocketAddr;

use crate::support::client::Client;
use crate::support::cluster::Cluster;
use crate::support::process::{Process, serve};

/// Private messages through a route that checks who speaks, rooms by claim-like rules, and one thing that is denied.
const GUARDED: &str = "
[[route]]
on = '/app/say/{from}/{to}'
to = '/user/{to}/queue/private'
body = '{body}'
allow = 'from == user'

[[route]]
on = '/app/news'
to = '/topic/news'

[permissions]
profile = 'guarded'

[[permissions.rule]]
match = '/topic/nobody-listens-here'
send = 'allow'

[[permissions.rule]]
name = 'audit is closed'
match = '/topic/audit'
send = 'deny'
subscribe = 'deny'

[[permissions.rule]]
match = '/topic/of/{user}/**'
send = 'allow'
subscribe = 'allow'

[[permissions.rule]]
match = '/topic/of/**'
send = 'deny'
subscribe = 'deny'

[[permissions.rule]]
match = '/topic/room/{room}'
send = 'allow'
when = \"room in ['1', '2']\"

[[permissions.rule]]
name = 'no news for guests'
match = '/app/news'
send = 'deny'
when = \"user == 'guest'\"
";

fn connect(to: SocketAddr, name: &str) -> Client {
    Client::connect(to, "/ws", "1.2", &["heart-beat:0,0", &format!("login:{name}")])
}

/// Two places where clients connect: one node twice, or two nodes.
enum Place {
    Alone(Box<Process>),
    Two(Box<Cluster>),
}

impl Place {
    fn both(config: &str) -> [Self; 2] {
        [Self::Alone(Box::new(serve(config))), Self::Two(Box::new(Cluster::with(config, 2)))]
    }

    fn near(&self, name: &str) -> Client {
        match self {
            Self::Alone(server) => connect(server.address, name),
            Self::Two(cluster) => cluster.user(0, name),
        }
    }

    fn far(&self, name: &str) -> Client {
        match self {
            Self::Alone(server) => connect(server.address, name),
            Self::Two(cluster) => cluster.user(1, name),
        }
    }

    fn metrics(&self) -> String {
        match self {
            Self::Alone(server) => server.get("/metrics").1,
            Self::Two(cluster) => cluster.node(0).get("/metrics").1,
        }
    }
}
