//! Says which addresses are nobody's business: a webhook's address is a text that somebody wrote, and must not reach what only this machine,
//! or only this network, can reach.
//!
//! Called for each address that a name means, and the connection goes to the address that was looked at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses that may be reached though they are not public.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed(Vec<(IpAddr, u8)>);

impl Allowed {
    /// By networks, such as `10.1.0.0/16`, `127.0.0.1` or `fd00::/8`.
    ///
    /// # Errors
    /// The network that is none, and why.
    pub fn parse<'a>(networks: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let network = |text: &str| {
            let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
            let address: IpAddr = address.parse().map_err(|_| format!("`{text}` is no network: write 10.1.0.0/16"))?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Ok(most), str::parse).ok().filter(|bits| *bits <= most);
            Ok((address, bits.ok_or_else(|| format!("`{text}` has no length from 0 to {most} behind its slash"))?))
        };
        networks.into_iter().map(network).collect::<Result<_, _>>().map(Self)
    }

    /// All addresses.
    #[must_use]
    pub fn all() -> Self {
        Self(vec![(Ipv4Addr::UNSPECIFIED.into(), 0), (Ipv6Addr::UNSPECIFIED.into(), 0)])
    }

    /// May an address be reached?
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        is_public(address) || self.0.iter().any(|(network, bits)| lies_in(address, *network, *bits))
    }
}

fn lies_in(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        _ => false,
    }
}

/// Is an address one that everybody can reach?
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_4(address),
        IpAddr::V6(address) => is_public_6(address),
    }
}

fn is_public_4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_unspecified()
        || a == 0
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        // Behind carriers' NAT, for protocols, for benchmarks, reserved.
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b))
        || a >= 240)
}

fn is_public_6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let embedded = match segments {
        // NAT64 and 6to4 have an address of the older kind in them.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => Some((high, low)),
        _ => None,
    };
    let is_odd = embedded.is_some_and(|(high, low)| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        !is_public_4(Ipv4Addr::new(a, b, c, d))
    });
    // Global unicast is all that is public.
    (address.segments()[0] & 0xe000 == 0x2000 || segments[0] == 0x64) && !is_odd && segments[..2] != [0x2001, 0xdb8]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(allowed: &Allowed, address: &str) -> bool {
        allowed.allows(address.parse().unwrap())
    }

    #[test]
    fn what_only_this_machine_or_network_reaches_is_not_reached() {
        let nobody = Allowed::default();
        for address in ["8.8.8.8", "2600::1", "100.63.0.1", "172.32.0.1", "::ffff:8.8.8.8", "64:ff9b::808:808"] {
            assert!(allows(&nobody, address), "{address}");
        }
        for address in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.3.4",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "255.255.255.255",
            "224.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "2001:db8::1",
        ] {
            assert!(!allows(&nobody, address), "{address}");
        }
    }

    #[test]
    fn networks_can_be_allowed() {
        let some = Allowed::parse(["127.0.0.0/8", "10.1.0.0/16", "fd00::/8", "192.168.1.7"]).unwrap();
        for (address, expected) in [
            ("127.0.0.1", true),
            ("::ffff:127.0.0.1", true),
            ("10.1.255.1", true),
            ("10.2.0.1", false),
            ("fd12::3", true),
            ("fe80::1", false),
            ("192.168.1.7", true),
            ("192.168.1.8", false),
        ] {
            assert_eq!(allows(&some, address), expected, "{address}");
        }
        assert_eq!(Allowed::parse(["0.0.0.0/0", "::/0"]).unwrap(), Allowed::all());
        for address in ["127.0.0.1", "10.0.0.1", "::1", "fd00::1", "8.8.8.8"] {
            assert!(allows(&Allowed::all(), address), "{address}");
        }
        for wrong in ["10.0.0.0/33", "localhost", "10.0.0.0/x", "::/129"] {
            assert!(Allowed::parse([wrong]).unwrap_err().contains(wrong), "{wrong}");
        }
    }
}
