//! Where a conductor listens.

use std::{fmt, str::FromStr};

use orchestra_model::{HostName, whole};

/// `HOST:PORT` to dial: a host name, an IPv4 address, or an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    host: String,
    port: u16,
}

impl Endpoint {
    /// The host name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, at least 1.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Endpoint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = text.rsplit_once(':').ok_or("expected HOST:PORT, as in db1:2258")?;
        let port = whole(port)
            .filter(|port| *port > 0)
            .ok_or("expected a port from 1 to 65535 after the last ':'")?;
        if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let address: std::net::Ipv6Addr =
                inner.parse().map_err(|_| "expected an IPv6 address between the brackets")?;
            return Ok(Endpoint { host: address.to_string(), port });
        }
        if host.contains(':') {
            return Err("an IPv6 address is written in brackets, as in [::1]:2258");
        }
        // An IPv4 address is a valid host name too.
        let name = HostName::new(&host.to_ascii_lowercase())
            .map_err(|_| "expected a host name or address before the ':'")?;
        Ok(Endpoint { host: name.to_string(), port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}
