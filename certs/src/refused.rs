//! Why a connection was not made, in words that a person can act on.
//!
//! One vocabulary for both ends: what *we* did not accept of the peer, and what the peer told us,
//! by a TLS alert, that *it* did not accept of us.

use std::{error::Error as StdError, fmt, io};

use rustls::{AlertDescription, CertificateError, Error};

use crate::identity::InvalidIdentity;

/// Why a TLS connection was refused, by us or by the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The peer has no certificate.
    NoCertificate,
    /// The peer's certificate is of a CA that we do not know.
    UnknownCa,
    /// The peer's certificate has expired.
    Expired,
    /// The peer's certificate is not valid yet.
    NotYetValid,
    /// The peer's certificate is on the revocation list.
    Revoked,
    /// The peer's certificate has no identity, or another than the expected one.
    Identity(InvalidIdentity),
    /// The peer does not speak TLS 1.3, or no TLS at all.
    NotTls13,
    /// The peer closed the connection before it sent anything that could be judged.
    Closed,
    /// The peer did not complete the handshake in time.
    TimedOut,
    /// So many handshakes wait that the peer's would have come too late.
    Crowded,
    /// The peer's identity has its most connections, which are so many.
    Surplus(usize),
    /// There are the most connections, which are so many.
    Full(usize),
    /// The peer refused us, with this alert.
    ByPeer(AlertDescription),
    /// Anything else, in the words of the TLS library or the system.
    Other(String),
}

impl Refused {
    /// Reads why a handshake failed.
    pub fn of_io(error: &io::Error) -> Refused {
        let inner = error.get_ref();
        if let Some(refused) = inner.and_then(|inner| inner.downcast_ref::<Refused>()) {
            return refused.clone();
        }
        match inner.and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(error) => Refused::from(error),
            None if error.kind() == io::ErrorKind::UnexpectedEof => Refused::Closed,
            None => Refused::Other(error.to_string()),
        }
    }
}

impl From<&Error> for Refused {
    fn from(error: &Error) -> Refused {
        match error {
            Error::NoCertificatesPresented => Refused::NoCertificate,
            Error::InvalidCertificate(error) => Refused::of_certificate(error),
            Error::PeerIncompatible(_) | Error::InvalidMessage(_) => Refused::NotTls13,
            Error::AlertReceived(alert) => Refused::ByPeer(*alert),
            other => Refused::Other(other.to_string()),
        }
    }
}

impl Refused {
    /// Returns whether somebody was refused for a certificate, or for want of one. Of somebody who has
    /// shown one, so is what the TLS library says beside: that the key is not its, for example.
    pub(crate) fn is_of_certificate(&self, has_shown_one: bool) -> bool {
        match self {
            Self::NoCertificate
            | Self::UnknownCa
            | Self::Expired
            | Self::NotYetValid
            | Self::Revoked
            | Self::Identity(_) => true,
            Self::Other(_) => has_shown_one,
            Self::NotTls13
            | Self::Closed
            | Self::TimedOut
            | Self::Crowded
            | Self::Surplus(_)
            | Self::Full(_)
            | Self::ByPeer(_) => false,
        }
    }

    fn of_certificate(error: &CertificateError) -> Refused {
        match error {
            CertificateError::UnknownIssuer => Refused::UnknownCa,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Refused::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Refused::NotYetValid
            }
            CertificateError::Revoked => Refused::Revoked,
            CertificateError::Other(other) => match other.0.downcast_ref::<InvalidIdentity>() {
                Some(identity) => Refused::Identity(identity.clone()),
                None => Refused::Other(other.to_string()),
            },
            other => Refused::Other(format!("the peer's certificate is invalid: {other}")),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCertificate => f.write_str("the peer has no certificate"),
            Self::UnknownCa => f.write_str("the peer's certificate is not of our CA"),
            Self::Expired => {
                f.write_str("the peer's certificate has expired, or our clock is wrong")
            }
            Self::NotYetValid => {
                f.write_str("the peer's certificate is not valid yet, or a clock is wrong")
            }
            Self::Revoked => f.write_str("the peer's certificate is revoked"),
            Self::Identity(why) => match why.source() {
                Some(cause) => write!(f, "{why}: {cause}"),
                None => why.fmt(f),
            },
            Self::NotTls13 => f.write_str("the peer does not speak TLS 1.3"),
            Self::Closed => f.write_str("the peer closed the connection during the handshake"),
            Self::TimedOut => f.write_str("the handshake took too long"),
            Self::Crowded => f.write_str("too many wait for a handshake: it may come again"),
            Self::Surplus(most) => write!(
                f,
                "the peer's identity has {most} connections, the most that one may have: end some, \
                 or give each program a certificate of its own"
            ),
            Self::Full(most) => write!(f, "there are {most} connections, the most there may be"),
            Self::ByPeer(alert) => f.write_str(&words_of(*alert)),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl StdError for Refused {}

/// Returns what an alert (RFC 8446, section 6.2) means between ends of Orchestra.
fn words_of(alert: AlertDescription) -> String {
    let why = match alert {
        AlertDescription::CertificateRequired => {
            return "the peer wants a certificate, and we sent none".to_owned();
        }
        AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure => {
            return "the peer does not speak TLS 1.3 as we do".to_owned();
        }
        AlertDescription::NoApplicationProtocol => {
            return "the peer does not speak HTTP/2".to_owned();
        }
        AlertDescription::UnknownCA => "it is not of a CA that the peer knows",
        AlertDescription::CertificateExpired => {
            "it has expired or is not valid yet, or a clock is wrong"
        }
        AlertDescription::CertificateRevoked => "it is revoked",
        AlertDescription::CertificateUnknown | AlertDescription::AccessDenied => {
            "it names nobody whom the peer accepts: another domain or name, or no identity; \
             see what it says with: orchestra-certs show FILE"
        }
        AlertDescription::UnsupportedCertificate => "its role does not belong on this end",
        AlertDescription::BadCertificate => "it is malformed",
        AlertDescription::DecryptError => "its signature does not verify",
        other => return format!("the peer refused us with the TLS alert {other:?}"),
    };
    format!("the peer refused our certificate: {why}")
}

/// Finds the TLS failure, if there is one, in the chain of errors with which a call on a channel
/// failed.
pub fn explain(error: &(dyn StdError + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<Error>() {
            return Some(Refused::from(tls).to_string());
        }
        // An io::Error's `source` is the source of what it wraps, never what it wraps.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_found_however_deep() {
        let tls = Error::AlertReceived(AlertDescription::CertificateRevoked);
        let inner = io::Error::new(io::ErrorKind::InvalidData, tls);
        let outer = io::Error::other(inner);
        let text = explain(&outer).unwrap();
        assert!(text.contains("it is revoked"), "{text}");
        assert_eq!(explain(&io::Error::other("no TLS here")), None);
    }
}
