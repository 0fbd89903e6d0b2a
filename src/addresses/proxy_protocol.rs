//! The PROXY protocol, versions 1 and 2: what a balancer says of a connection before its first octet.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What version 2 begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Longest line of version 1, line end included.
const MAX_LINE: usize = 107;
/// Most octets behind the fixed part of version 2: addresses, and what else a balancer adds.
const MAX_REST: usize = 2048;

/// Reads what stands in front and not an octet more. None where the balancer speaks for itself, or does not know.
///
/// # Errors
///
/// When it is not there or cannot be read: then nothing is known of the connection.
pub async fn read(socket: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut head = [0; 12];
    socket.read_exact(&mut head).await?;
    if head == SIGNATURE {
        let mut fixed = [0; 4];
        socket.read_exact(&mut fixed).await?;
        let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
        if length > MAX_REST {
            return Err(bad("longer than any balancer writes"));
        }
        let mut rest = vec![0; length];
        socket.read_exact(&mut rest).await?;
        return version_2(fixed[0], fixed[1], &rest);
    }
    let mut line = head.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() >= MAX_LINE || !line.starts_with(b"PROXY ") {
            return Err(bad("no PROXY protocol"));
        }
        line.push(socket.read_u8().await?);
    }
    version_1(&line)
}

fn version_1(line: &[u8]) -> io::Result<Option<SocketAddr>> {
    let text = std::str::from_utf8(line).map_err(|_| bad("a line that is no text"))?;
    let parts: Vec<&str> = text.trim_end_matches("\r\n").split(' ').collect();
    match *parts.as_slice() {
        ["PROXY", "UNKNOWN", ..] => Ok(None),
        ["PROXY", family @ ("TCP4" | "TCP6"), from, to, from_port, to_port] => {
            let address = |text: &str| text.parse::<IpAddr>().ok().filter(|ip| ip.is_ipv4() == (family == "TCP4"));
            let port = |text: &str| text.parse::<u16>().ok();
            let all = (address(from), address(to), port(from_port), port(to_port));
            let (Some(from), Some(_), Some(port), Some(_)) = all else { return Err(bad("no addresses in its line")) };
            Ok(Some(SocketAddr::new(from, port)))
        }
        _ => Err(bad("a line of another form")),
    }
}

fn version_2(version_command: u8, family: u8, rest: &[u8]) -> io::Result<Option<SocketAddr>> {
    match version_command {
        // LOCAL: the balancer's own, a health check.
        0x20 => return Ok(None),
        0x21 => {}
        _ => return Err(bad("another version or command")),
    }
    let port = |at: usize| rest.get(at..at + 2).map(|octets| u16::from_be_bytes([octets[0], octets[1]]));
    let found = match family {
        0x11 => rest.first_chunk::<4>().map(|octets| IpAddr::from(Ipv4Addr::from(*octets))).zip(port(8)),
        0x21 => rest.first_chunk::<16>().map(|octets| IpAddr::from(Ipv6Addr::from(*octets))).zip(port(32)),
        // UNSPEC, UDP, sockets of Unix: nothing that is counted here.
        _ => return Ok(None),
    };
    let (address, port) = found.ok_or_else(|| bad("no addresses where they should be"))?;
    Ok(Some(SocketAddr::new(address, port)))
}

fn bad(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    async fn parse(octets: &[u8]) -> Result<Option<String>, io::ErrorKind> {
        let mut rest = octets;
        let found = read(&mut rest).await.map_err(|error| error.kind())?;
        assert_eq!(rest, b"GET", "not an octet more is read");
        Ok(found.map(|address| address.to_string()))
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest, b"GET"].concat()
    }

    #[tokio::test]
    async fn both_versions_say_where_a_connection_comes_from() {
        let four = [192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x34, 0, 80];
        let six = [&Ipv6Addr::LOCALHOST.octets()[..], &Ipv6Addr::LOCALHOST.octets(), &[0, 7, 0, 80]].concat();
        let with_more = [&four[..], &[4, 0, 1, 0]].concat();
        for (octets, expected) in [
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r\nGET".to_vec(), Some("192.0.2.1:4660")),
            (b"PROXY TCP6 2001:db8::1 ::1 7 80\r\nGET".to_vec(), Some("[2001:db8::1]:7")),
            (b"PROXY UNKNOWN\r\nGET".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::1 1 2\r\nGET".to_vec(), None),
            (v2(0x21, 0x11, &four), Some("192.0.2.1:4660")),
            (v2(0x21, 0x11, &with_more), Some("192.0.2.1:4660")),
            (v2(0x21, 0x21, &six), Some("[::1]:7")),
            (v2(0x20, 0x11, &four), None),
            (v2(0x20, 0, &[]), None),
            (v2(0x21, 0x31, &[0; 216]), None),
        ] {
            assert_eq!(parse(&octets).await.unwrap().as_deref(), expected, "{octets:?}");
        }
    }

    #[tokio::test]
    async fn what_is_not_of_the_protocol_is_refused() {
        let too_long = format!("PROXY TCP4 {} 10.0.0.1 1 2\r\n", "1".repeat(200));
        for octets in [
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 10.0.0.1 4660\r\n".to_vec(),
            b"PROXY TCP4 ::1 10.0.0.1 4660 80\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 10.0.0.1 66000 80\r\n".to_vec(),
            b"PROXY TCP5 192.0.2.1 10.0.0.1 1 2\r\n".to_vec(),
            b"PROXY \xff\xff\xff\xff\xff\xff\xff\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1".to_vec(),
            too_long.into_bytes(),
            v2(0x31, 0x11, &[0; 12]),
            v2(0x22, 0x11, &[0; 12]),
            v2(0x21, 0x11, &[0; 9]),
            v2(0x21, 0x21, &[0; 30]),
            v2(0x21, 0x11, &[0; 2049]),
            SIGNATURE.to_vec(),
            Vec::new(),
        ] {
            assert!(read(&mut &octets[..]).await.is_err(), "{octets:?}");
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_read_to_a_bound(mut octets in proptest::collection::vec(any::<u8>(), 0..300), signed in any::<bool>()) {
            if signed {
                octets.splice(0..0, SIGNATURE);
            }
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _found = runtime.block_on(read(&mut &octets[..]));
        }
    }
}
