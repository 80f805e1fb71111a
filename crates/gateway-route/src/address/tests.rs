//! Which addresses may be workers, and which ranges open others.

use super::{Cidr, check_address};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn range(text: &str) -> Cidr {
    text.parse().unwrap()
}

#[test]
fn a_range_holds_its_addresses() {
    #[track_caller]
    fn check(text: &str, address: &str, expected: bool) {
        assert_eq!(
            range(text).contains(ip(address)),
            expected,
            "{address} in {text}"
        );
    }
    check("10.0.0.0/8", "10.255.255.255", true);
    check("10.0.0.0/8", "11.0.0.0", false);
    check("10.1.2.3/8", "10.9.9.9", true);
    check("10.0.0.0/8", "::ffff:10.0.0.1", true);
    check("10.0.0.0/8", "::10.0.0.1", false);
    check("192.168.1.7", "192.168.1.7", true);
    check("192.168.1.7", "192.168.1.8", false);
    check("192.168.1.0/31", "192.168.1.1", true);
    check("192.168.1.0/31", "192.168.1.2", false);
    check("0.0.0.0/0", "255.1.2.3", true);
    check("0.0.0.0/0", "fd00::1", false);
    check("::/0", "fd00::1", true);
    check("::/0", "1.2.3.4", false);
    check("fd00::/8", "fdff::1", true);
    check("fd00::/8", "fe00::1", false);
    check("::1", "::1", true);
    check("::ffff:10.0.0.0/104", "10.200.0.1", true);
    check("::ffff:10.0.0.0/104", "11.0.0.1", false);
    check("::ffff:10.0.0.1", "10.0.0.1", true);
}

#[test]
fn what_is_no_range_is_refused() {
    for text in [
        "",
        "/",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/+8",
        "10.0.0.0/-1",
        "10.0.0.0/8/8",
        "10.0.0",
        "fd00::/129",
        "::ffff:10.0.0.0/95",
        "localhost",
        "10.0.0.0/8 ",
        "10.0.0.0/256",
        "[::1]",
    ] {
        assert!(text.parse::<Cidr>().is_err(), "{text}");
    }
}

#[test]
fn fault_26_link_local_and_metadata_addresses_are_refused_in_every_guise() {
    for address in [
        "169.254.169.254",
        "169.254.0.1",
        "169.254.170.2",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fe80::1",
        "febf::1",
        "fd00:ec2::254",
        "fd20:ce::254",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "::ffff:100.100.100.200",
    ] {
        let refused = check_address(ip(address), &[]).unwrap_err();
        assert_eq!(refused.address, ip(address));
    }
}

#[test]
fn ordinary_addresses_are_taken() {
    for address in [
        "127.0.0.1",
        "0.0.0.0",
        "10.0.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "8.8.8.8",
        "::1",
        "::",
        "fd00::1",
        "2001:db8::1",
        "fec0::1",
        "169.253.255.255",
        "169.255.0.0",
        "64:ff9b::808:808",
    ] {
        assert_eq!(check_address(ip(address), &[]), Ok(()), "{address}");
    }
}

#[test]
fn worker_allow_opens_its_ranges_alone() {
    let allow = [range("169.254.10.0/24"), range("fe80::/64")];
    assert!(check_address(ip("169.254.10.9"), &allow).is_ok());
    assert!(check_address(ip("::ffff:169.254.10.9"), &allow).is_ok());
    assert!(check_address(ip("64:ff9b::a9fe:0a09"), &allow).is_ok());
    assert!(check_address(ip("fe80::1"), &allow).is_ok());
    assert!(check_address(ip("169.254.169.254"), &allow).is_err());
    assert!(check_address(ip("fe80:0:0:1::1"), &allow).is_err());
}

proptest! {
    #[test]
    fn a_range_agrees_with_the_mask(address: u32, other: u32, prefix in 0_u8..=32) {
        let text = format!("{}/{prefix}", Ipv4Addr::from_bits(address));
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        let expected = address & mask == other & mask;
        prop_assert_eq!(range(&text).contains(Ipv4Addr::from_bits(other).into()), expected);
        let mapped = Ipv4Addr::from_bits(other).to_ipv6_mapped();
        prop_assert_eq!(range(&text).contains(mapped.into()), expected);
    }

    #[test]
    fn the_text_form_reads_back(address: u128, prefix in 0_u8..=128) {
        let range = Cidr { address: IpAddr::from(Ipv6Addr::from_bits(address)).to_canonical(), prefix };
        prop_assume!(range.address.is_ipv6());
        prop_assert_eq!(range.to_string().parse::<Cidr>().unwrap(), range);
    }
}
