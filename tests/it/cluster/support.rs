//! The servers that the other tests lean on do what those tests take for granted.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::support::private::local;
use crate::support::proxy::{Mode, Proxy};
use crate::support::rabbit::Rabbit;
use crate::support::redis::Redis;

#[test]
fn a_durable_redis_keeps_what_it_confirmed() {
    let mut redis = Redis::durable();
    assert_eq!(redis.cli(&["SET", "kept", "yes"]), "OK");
    redis.kill();
    assert!(TcpStream::connect(local(redis.port())).is_err());
    redis.restart();
    assert_eq!(redis.cli(&["GET", "kept"]), "yes");
    assert_eq!(redis.keys("k*"), ["kept"]);
}

#[test]
fn the_other_forgets_it() {
    let mut redis = Redis::start();
    assert_eq!(redis.cli(&["SET", "kept", "no"]), "OK");
    redis.restart();
    assert_eq!(redis.cli(&["DBSIZE"]), "0");
}

#[test]
fn a_frozen_redis_is_silent() {
    let redis = Redis::start();
    let mut stream = TcpStream::connect(local(redis.port())).unwrap();
    redis.freeze();
    stream.write_all(b"PING\r\n").unwrap();
    assert!(is_silent(&mut stream));
    redis.thaw();
    assert_eq!(read(&mut stream, 7), b"+PONG\r\n");
}

#[test]
fn a_virtual_host_is_there_until_it_is_let_go() {
    let rabbit = Rabbit::shared();
    let vhost = rabbit.vhost();
    assert!(vhost.url().ends_with(&format!("/%2f{}", &vhost.name()[1..])), "{}", vhost.url());
    let listed = |name: &str| rabbit.ctl(&["list_vhosts", "--no-table-headers"]).lines().any(|line| line == name);
    assert!(listed(vhost.name()));
    assert_eq!((vhost.queues(), vhost.messages()), (vec![], 0));
    vhost.close_connections();
    let name = vhost.name().to_owned();
    drop(vhost);
    assert!(!listed(&name));
}

#[test]
fn a_broker_of_its_own_comes_back_after_a_crash() {
    let mut rabbit = Rabbit::own();
    let vhost = rabbit.vhost();
    rabbit.alarm(true);
    rabbit.alarm(false);
    rabbit.stop_app();
    assert!(TcpStream::connect(local(vhost.port())).is_err());
    rabbit.start_app();
    drop(TcpStream::connect(local(vhost.port())).unwrap());
    rabbit.restart();
    drop(TcpStream::connect(local(vhost.port())).unwrap());
    assert_eq!(vhost.queues(), Vec::<String>::new());
}

#[test]
fn a_proxy_forwards_cuts_and_falls_silent() {
    let echo = TcpListener::bind(local(0)).unwrap();
    let proxy = Proxy::to(echo.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for stream in echo.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || std::io::copy(&mut stream.try_clone().unwrap(), &mut stream));
        }
    });
    let connect = || TcpStream::connect(local(proxy.port()));
    let answers = |stream: &mut TcpStream| {
        stream.write_all(b"x").unwrap();
        assert_eq!(read(stream, 1), b"x");
    };
    let mut stream = connect().unwrap();
    answers(&mut stream);
    for silence in [Mode::Silent, Mode::SilentToClient] {
        proxy.set(silence);
        stream.write_all(b"late").unwrap();
        assert!(is_silent(&mut stream));
        proxy.set(Mode::Forward);
        assert_eq!(read(&mut stream, 4), b"late");
    }
    proxy.set(Mode::Cut);
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
    assert!(connect().is_err());
    proxy.set(Mode::HangUp);
    assert_eq!(connect().unwrap().read(&mut [0]).unwrap_or(0), 0);
    proxy.set(Mode::Forward);
    answers(&mut connect().unwrap());
}

fn read(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    stream.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    let mut octets = vec![0; count];
    stream.read_exact(&mut octets).unwrap();
    octets
}

/// Whether nothing comes for a while.
fn is_silent(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    stream.read(&mut [0]).is_err()
}
