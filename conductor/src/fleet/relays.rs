//! What the players file says of relays: on which hosts there is one, and where it listens. What a player
//! says of that never counts, because one liar would send a whole fleet's connections to a victim.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use orchestra_model::HostName;

/// The key of a line of the players file.
pub(super) const RELAY: &str = "relay=";

/// Where relays listen where nobody says another port.
const PORT: u16 = 2260;

/// Where the relay of a host listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RelayPlace {
    /// At the address that its player's session comes from.
    AtSession(u16),
    /// There: `HOST:PORT`.
    At(Arc<str>),
}

impl RelayPlace {
    /// Reads `yes`, `:PORT`, `ADDRESS` or `ADDRESS:PORT`; an address is one, or a host's name.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let at = |host: &str, port: u16| Self::At(format!("{host}:{port}").into());
        if text == "yes" {
            return Some(Self::AtSession(PORT));
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return (address.port() > 0).then(|| Self::At(address.to_string().into()));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(Self::At(SocketAddr::new(address, PORT).to_string().into()));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok().filter(|port| *port > 0)?),
            None => (text, PORT),
        };
        match host {
            "" if text.is_empty() => None,
            "" => Some(Self::AtSession(port)),
            host => HostName::new(host).ok().map(|host| at(host.as_str(), port)),
        }
    }

    /// The address as it is dialled, `HOST:PORT`. `session`: where the player's session comes from, if it
    /// has one.
    pub(crate) fn address(&self, session: Option<IpAddr>) -> Option<String> {
        match self {
            Self::At(address) => Some(address.to_string()),
            // An address of IPv4 is told as one, whatever socket it came in by.
            Self::AtSession(port) => {
                session.map(|address| SocketAddr::new(address.to_canonical(), *port).to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_where_the_players_file_says() {
        let session = Some("::ffff:10.0.0.7".parse().unwrap());
        let at = |text: &str| RelayPlace::parse(text).and_then(|place| place.address(session));
        for (text, address) in [
            ("yes", "10.0.0.7:2260"),
            (":2261", "10.0.0.7:2261"),
            ("10.1.0.1", "10.1.0.1:2260"),
            ("10.1.0.1:99", "10.1.0.1:99"),
            ("[fe80::1]:99", "[fe80::1]:99"),
            ("fe80::1", "[fe80::1]:2260"),
            ("build1", "build1:2260"),
            ("build1.example.com:7", "build1.example.com:7"),
        ] {
            assert_eq!(at(text).as_deref(), Some(address), "{text}");
        }
        for wrong in
            ["", ":", ":0", ":x", "build1:", "build1:99999", "a b", "../x", "[::1]", "10.0.0.1:0"]
        {
            assert_eq!(RelayPlace::parse(wrong), None, "{wrong}");
        }
        assert_eq!(RelayPlace::parse("yes").unwrap().address(None), None);
        assert_eq!(RelayPlace::parse("b1").unwrap().address(None).as_deref(), Some("b1:2260"));
    }
}
