//! Further names of a certificate, for foreign tools: Orchestra itself never looks at them.

use std::{net::IpAddr, str::FromStr};

use orchestra_model::{HostName, names::InvalidName};

/// A DNS name or an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AltName {
    /// A name in DNS.
    Dns(HostName),
    /// An IPv4 or IPv6 address.
    Ip(IpAddr),
}

impl FromStr for AltName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<AltName, InvalidName> {
        match text.parse() {
            Ok(ip) => Ok(AltName::Ip(ip)),
            Err(_) => HostName::new(text).map(AltName::Dns),
        }
    }
}
