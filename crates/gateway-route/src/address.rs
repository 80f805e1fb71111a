//! Ranges of addresses, and the addresses that must not be an upstream.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range of addresses: `10.0.0.0/8`, `fd00::/8`, or one address alone. An IPv4 address that is
/// written within IPv6 (`::ffff:10.0.0.1`) is the IPv4 address.
///
/// ```
/// use gateway_route::Cidr;
///
/// let range: Cidr = "10.0.0.0/8".parse()?;
/// assert!(range.contains("::ffff:10.1.2.3".parse().unwrap()));
/// assert!(!range.contains("11.0.0.1".parse().unwrap()));
/// # Ok::<(), gateway_route::CidrError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// The text is no range of addresses: the operator's error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an address nor a range such as 10.0.0.0/8")]
pub struct CidrError(String);

impl Cidr {
    /// Whether the address lies within.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(range), IpAddr::V4(address)) => {
                let differing = range.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V6(range), IpAddr::V6(address)) => {
                let differing = range.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= u32::from(self.prefix)
            }
            _ => false,
        }
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let error = || CidrError(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let written: IpAddr = address.parse().map_err(|_| error())?;
        let address = written.to_canonical();
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            // `parse` alone would also take a sign.
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                let prefix: u8 = digits.parse().map_err(|_| error())?;
                // The prefix of an IPv4 range that is written in IPv6 counts from there.
                let mapped = written.is_ipv6() && address.is_ipv4();
                let prefix = if mapped {
                    prefix.checked_sub(96)
                } else {
                    Some(prefix)
                };
                prefix.filter(|prefix| *prefix <= bits).ok_or_else(error)?
            }
            Some(_) => return Err(error()),
        };
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// The address must not be a worker: the registrant's error, or that of the one who answers for
/// the name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address} is a link-local or metadata address; `worker_allow` can open its range")]
pub struct AddressRefused {
    /// As it was resolved or written.
    pub address: IpAddr,
}

/// Checks an address that a worker is about to be connected at. Whoever may register workers must
/// not thereby reach what only the machine itself may ask: link-local addresses, where cloud
/// metadata services live, and those of such services that live elsewhere. Names are resolved when
/// they are connected to, so this is asked of every resolved address, too.
///
/// # Errors
///
/// [`AddressRefused`], unless one of the ranges in `allow` holds the address.
pub fn check_address(address: IpAddr, allow: &[Cidr]) -> Result<(), AddressRefused> {
    let inner = embedded_v4(address).map(IpAddr::V4);
    let refused = [Some(address), inner]
        .into_iter()
        .flatten()
        .any(is_off_limits);
    let allowed = |address: IpAddr| allow.iter().any(|range| range.contains(address));
    if refused && !allowed(address) && !inner.is_some_and(allowed) {
        return Err(AddressRefused { address });
    }
    Ok(())
}

/// Metadata services outside the link-local ranges.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200), // Alibaba Cloud
    Ipv4Addr::new(168, 63, 129, 16),   // Azure, the platform's own endpoint
    Ipv4Addr::new(192, 0, 0, 192),     // Oracle Cloud, the older one
];
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254), // Amazon
    Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254), // Google
];

fn is_off_limits(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local() || METADATA_V4.contains(&address),
        IpAddr::V6(address) => address.is_unicast_link_local() || METADATA_V6.contains(&address),
    }
}

/// The IPv4 address that a packet to this IPv6 address may end at: mapped (`::ffff:a.b.c.d`),
/// compatible (`::a.b.c.d`), NAT64 (`64:ff9b::a.b.c.d`, RFC 6052) or 6to4 (`2002:ab:cd::`,
/// RFC 3056).
fn embedded_v4(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else {
        return None;
    };
    let last = |bits: u128| Ipv4Addr::from_bits((bits & u128::from(u32::MAX)) as u32);
    let bits = address.to_bits();
    match address.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(last(bits)),
        [0x2002, ..] => Some(last(bits >> 80)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
