//! How many of something each address has. What an address gave back is forgotten.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;
use thiserror::Error;

use super::{Network, any_holds};

/// Counts by address: an IPv4 address, or the 64 bits of an IPv6 network, of which one client has all the rest.
#[derive(Debug)]
pub struct Counted {
    open: Mutex<HashMap<IpAddr, usize>>,
    limit: usize,
    unlimited: Vec<Network>,
}

/// One more than there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("your address has {actual} open, and {limit} is the limit")]
pub struct TooMany {
    /// How many there are.
    pub actual: usize,
    /// How many there may be.
    pub limit: usize,
}

/// One of what is counted, until it is dropped.
#[derive(Debug)]
pub struct Guard {
    counted: Arc<Counted>,
    address: IpAddr,
}

impl Counted {
    /// At most `limit` for each address; 0 for no limit. Those in the networks have none.
    #[must_use]
    pub fn new(limit: usize, unlimited: Vec<Network>) -> Arc<Self> {
        Arc::new(Self { open: Mutex::default(), limit, unlimited })
    }

    /// Counts one more; no guard where there is no limit.
    ///
    /// # Errors
    ///
    /// When the address has as many as it may have.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Option<Box<Guard>>, TooMany> {
        if self.limit == 0 || any_holds(&self.unlimited, address) {
            return Ok(None);
        }
        let address = counted_as(address);
        let mut open = self.open.lock();
        let count = open.entry(address).or_default();
        if *count >= self.limit {
            return Err(TooMany { actual: *count, limit: self.limit });
        }
        *count += 1;
        Ok(Some(Box::new(Guard { counted: Arc::clone(self), address })))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut open = self.counted.open.lock();
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
                if open.capacity() > 1024 && open.len() < open.capacity() / 8 {
                    open.shrink_to_fit();
                }
            }
        }
    }
}

/// What counts as one client: an IPv4 address, or the first 64 bits of an IPv6 address.
pub(super) fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_address_has_its_own_count_and_gives_it_back() {
        let counted = Counted::new(2, vec!["10.0.0.0/8".parse().unwrap()]);
        let first = counted.enter(ip("192.0.2.1")).unwrap();
        let _second = counted.enter(ip("::ffff:192.0.2.1")).unwrap();
        assert_eq!(counted.enter(ip("192.0.2.1")).unwrap_err(), TooMany { actual: 2, limit: 2 });
        let _other = counted.enter(ip("192.0.2.2")).unwrap().unwrap();
        drop(first);
        let _third = counted.enter(ip("192.0.2.1")).unwrap().unwrap();
        assert!(counted.enter(ip("10.1.1.1")).unwrap().is_none());
        assert_eq!(counted.open.lock().len(), 2);
    }

    #[test]
    fn a_network_of_64_bits_is_one_client() {
        let counted = Counted::new(1, Vec::new());
        let one = counted.enter(ip("2001:db8:0:1::1")).unwrap();
        assert!(counted.enter(ip("2001:db8:0:1:ffff::")).is_err());
        let _other = counted.enter(ip("2001:db8:0:2::1")).unwrap().unwrap();
        drop(one);
        assert_eq!(counted.open.lock().len(), 1);
    }
}
