//! Each address is listened on once.

use std::net::{IpAddr, SocketAddr};

use super::keys::{Api, Gateway, Ingest, Postgres};
use super::raw::Raw;

/// Reports each address that an earlier key has taken.
pub(super) fn check(raw: &mut Raw, gateway: &Gateway, api: &Api, postgres: &Postgres, ingest: &Ingest) {
    // The program goes on without the defaults of these two where they are taken.
    let spans = |name, address| (ingest.otlp && raw.is_written(name)).then_some(address);
    let addresses = [
        ("gateway.listen", Some(gateway.listen)),
        ("api.listen", Some(api.listen)),
        ("postgres.listen", postgres.listen),
        ("ingest.grpc", spans("ingest.grpc", ingest.grpc)),
        ("ingest.http", spans("ingest.http", ingest.http)),
    ];
    let addresses: Vec<_> = addresses.into_iter().filter_map(|(name, address)| Some((name, address?))).collect();
    for (at, (name, address)) in addresses.iter().enumerate() {
        if let Some((first, taken)) = addresses[..at].iter().find(|(_, taken)| overlap(*taken, *address)) {
            raw.conflict(name, &format!("`{first}` listens on {taken} already"), "give one of them another port");
        }
    }
}

/// True if only one of two sockets can listen. Port 0 is a free one of the system's choice.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let covers = |all: IpAddr, ip: IpAddr| all.is_unspecified() && (all.is_ipv6() || ip.is_ipv4());
    let (a, b) = (one.ip(), other.ip());
    one.port() == other.port() && one.port() != 0 && (a == b || covers(a, b) || covers(b, a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_overlap_if_one_has_the_other() {
        for (one, other, is_same) in [
            ("127.0.0.1:4100", "127.0.0.1:4100", true),
            ("127.0.0.1:4100", "127.0.0.1:4180", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("127.0.0.1:4100", "10.0.0.1:4100", false),
            ("0.0.0.0:4100", "10.0.0.1:4100", true),
            ("0.0.0.0:4100", "[::1]:4100", false),
            ("[::]:4100", "[::1]:4100", true),
            ("[::]:4100", "10.0.0.1:4100", true),
        ] {
            let (a, b) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!((overlap(a, b), overlap(b, a)), (is_same, is_same), "{one} {other}");
        }
    }
}
