//! The identity in a certificate: exactly one URI `spiffe://DOMAIN/ROLE/NAME`.
//!
//! The form is the SPIFFE ID's (SPIFFE-ID, section 2), narrowed to four roles and to names that
//! are valid host names. There is one spelling of each identity: nothing is decoded, folded to
//! lower case or normalised, so what differs as text is another identity or none.

use std::{fmt, str::FromStr};

use orchestra_model::{AudienceName, HostName, names::InvalidName};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

/// The role of a certificate's bearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Accepts flows and sends orders.
    Conductor,
    /// Runs scores on one host.
    Player,
    /// Submits and asks.
    Audience,
    /// Serves bundles to players.
    Relay,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 4] = [Role::Conductor, Role::Player, Role::Audience, Role::Relay];

    /// Returns the role as it is spelt in an identity, and as a directory's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Conductor => "conductor",
            Role::Player => "player",
            Role::Audience => "audience",
            Role::Relay => "relay",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Role and name together, so that a player's name cannot be taken for an audience's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The conductor of this name.
    Conductor(HostName),
    /// The player of this host.
    Player(HostName),
    /// The person or program of this name.
    Audience(AudienceName),
    /// The relay on this host.
    Relay(HostName),
}

impl Subject {
    /// Checks the name by the rule of its role.
    pub fn new(role: Role, name: &str) -> Result<Subject, InvalidName> {
        Ok(match role {
            Role::Conductor => Subject::Conductor(HostName::new(name)?),
            Role::Player => Subject::Player(HostName::new(name)?),
            Role::Audience => Subject::Audience(AudienceName::new(name)?),
            Role::Relay => Subject::Relay(HostName::new(name)?),
        })
    }

    /// The role.
    pub fn role(&self) -> Role {
        match self {
            Subject::Conductor(_) => Role::Conductor,
            Subject::Player(_) => Role::Player,
            Subject::Audience(_) => Role::Audience,
            Subject::Relay(_) => Role::Relay,
        }
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        match self {
            Subject::Conductor(name) | Subject::Player(name) | Subject::Relay(name) => {
                name.as_str()
            }
            Subject::Audience(name) => name.as_str(),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.role(), self.name())
    }
}

/// A subject within a domain. Prints and reads as its URI.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The domain: spelt like a host name, and compared exactly.
    pub domain: HostName,
    /// Role and name within the domain.
    pub subject: Subject,
}

impl Identity {
    /// Reads the one identity of a certificate.
    ///
    /// The caller has verified, or will verify, that a trusted CA signed it: this only reads.
    pub fn of_certificate(der: &[u8]) -> Result<Identity, InvalidIdentity> {
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|_| InvalidIdentity::Unreadable)?;
        Identity::of_parsed(&certificate)
    }

    /// Reads the one identity of a certificate that is parsed already.
    pub fn of_parsed(certificate: &X509Certificate<'_>) -> Result<Identity, InvalidIdentity> {
        // An error here is a second or a malformed extension of this kind.
        let names = certificate
            .subject_alternative_name()
            .map_err(|_| InvalidIdentity::Unreadable)?
            .map_or(&[][..], |extension| &extension.value.general_names);
        let uris = names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
        match uris.collect::<Vec<_>>().as_slice() {
            [] => Err(InvalidIdentity::Missing),
            [uri] => uri.parse(),
            several => Err(InvalidIdentity::Several(several.len())),
        }
    }

    /// Checks that it is of this domain.
    pub fn within(self, domain: &HostName) -> Result<Identity, InvalidIdentity> {
        if self.domain == *domain {
            Ok(self)
        } else {
            Err(InvalidIdentity::OtherDomain { expected: domain.clone(), found: self })
        }
    }

    /// The role.
    pub fn role(&self) -> Role {
        self.subject.role()
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        self.subject.name()
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}://{}/{}", self.domain, self.subject)
    }
}

const SCHEME: &str = "spiffe";

impl FromStr for Identity {
    type Err = InvalidIdentity;

    fn from_str(uri: &str) -> Result<Identity, InvalidIdentity> {
        let malformed = |rule| InvalidIdentity::Malformed { uri: shown(uri), rule };
        let name = |cause| InvalidIdentity::Name { uri: shown(uri), cause };
        let rest = match uri.split_once(':') {
            Some((SCHEME, rest)) => rest.strip_prefix("//"),
            Some((scheme, _)) if scheme.eq_ignore_ascii_case(SCHEME) => {
                return Err(malformed("identities are lower case"));
            }
            _ => return Err(InvalidIdentity::OtherScheme(shown(uri))),
        };
        if let Some(rule) = FORBIDDEN.iter().find_map(|(c, rule)| uri.contains(*c).then_some(*rule))
        {
            return Err(malformed(rule));
        }
        if uri.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(malformed("identities are lower case"));
        }
        let mut parts = rest.ok_or(malformed(FORM))?.split('/');
        let (Some(domain), Some(role), Some(subject), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed(FORM));
        };
        if domain.contains(':') {
            return Err(malformed("a domain has no port"));
        }
        let role = Role::ALL
            .into_iter()
            .find(|known| known.as_str() == role)
            .ok_or_else(|| InvalidIdentity::UnknownRole(shown(uri)))?;
        Ok(Identity {
            domain: HostName::new(domain).map_err(name)?,
            subject: Subject::new(role, subject).map_err(name)?,
        })
    }
}

const FORM: &str = "expected spiffe://DOMAIN/ROLE/NAME";

/// Characters that URIs may contain and identities may not.
const FORBIDDEN: [(char, &str); 4] = [
    ('%', "identities are never percent-encoded"),
    ('?', "an identity has no query"),
    ('#', "an identity has no fragment"),
    ('@', "an identity has no user information"),
];

/// Why a certificate has no identity, or not the expected one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdentity {
    /// It is not an X.509 certificate, or its alternative names do not parse.
    #[error("the certificate or its alternative names do not parse")]
    Unreadable,
    /// It holds no URI. Common names and DNS names do not count.
    #[error(
        "the certificate carries no URI spiffe://DOMAIN/ROLE/NAME (orchestra-certs issues such)"
    )]
    Missing,
    /// It has this many URIs.
    #[error("the certificate carries {0} URIs; it must be exactly one")]
    Several(usize),
    /// Its URI is of another kind.
    #[error("the certificate's URI {0:?} is no identity: {FORM}")]
    OtherScheme(String),
    /// Its URI breaks a rule of the form.
    #[error("the certificate's URI {uri:?} is no identity: {rule}")]
    Malformed {
        /// The URI, shortened for showing.
        uri: String,
        rule: &'static str,
    },
    /// The role is none of the four.
    #[error(
        "the certificate's URI {0:?} is no identity: the role is none of conductor, player, \
         audience, relay"
    )]
    UnknownRole(String),
    /// Domain or name is not valid.
    #[error("the certificate's URI {uri:?} is no identity")]
    Name {
        /// The URI, shortened for showing.
        uri: String,
        /// What is wrong with the name.
        #[source]
        cause: InvalidName,
    },
    /// A proper identity of a domain that is not ours.
    #[error("the certificate is {found}, and the domain here is {expected}")]
    OtherDomain {
        /// Ours.
        expected: HostName,
        /// The identity in the certificate.
        found: Identity,
    },
    /// A proper identity of our domain, but not the one that was to answer.
    #[error("the certificate is {found}, and {expected} was expected")]
    Other {
        /// The identity that was expected.
        expected: Identity,
        /// The identity that answered.
        found: Identity,
    },
}

/// Cuts a URI to what an error message can show.
fn shown(uri: &str) -> String {
    uri.chars().take(160).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_reads_as_it_prints() {
        for uri in [
            "spiffe://example.com/conductor/conductor.example.com",
            "spiffe://example.com/player/db1",
            "spiffe://x/audience/alice",
            "spiffe://x/relay/db1",
        ] {
            let identity: Identity = uri.parse().unwrap();
            assert_eq!(identity.to_string(), uri);
        }
        let identity: Identity = "spiffe://x/player/db1".parse().unwrap();
        assert_eq!(identity.role(), Role::Player);
        assert_eq!(identity.name(), "db1");
    }

    #[test]
    fn every_other_spelling_is_refused_for_its_own_reason() {
        let rule = |uri: &str| match uri.parse::<Identity>().unwrap_err() {
            InvalidIdentity::Malformed { rule, .. } => rule,
            other => panic!("{uri}: {other}"),
        };
        assert!(rule("spiffe://x/player/a%2fb").contains("percent"));
        assert!(rule("spiffe://x/player/a?b").contains("query"));
        assert!(rule("spiffe://x/player/a#b").contains("fragment"));
        assert!(rule("spiffe://u@x/player/a").contains("user"));
        assert!(rule("spiffe://x:1/player/a").contains("port"));
        for upper in ["spiffe://x/player/A", "SPIFFE://x/player/a", "spiffe://X/player/a"] {
            assert!(rule(upper).contains("lower case"), "{upper}");
        }
        for form in [
            "spiffe:",
            "spiffe:x/player/a",
            "spiffe://",
            "spiffe://x",
            "spiffe://x/player",
            "spiffe://x/player/a/",
            "spiffe://x/player/a/b",
        ] {
            assert_eq!(rule(form), FORM, "{form}");
        }
        let error = |uri: &str| uri.parse::<Identity>().unwrap_err();
        for other in ["", "x", "https://x/player/a", "spiffe", "urn:uuid:1"] {
            assert!(matches!(error(other), InvalidIdentity::OtherScheme(_)), "{other}");
        }
        for role in ["spiffe://x/admin/a", "spiffe://x//a", "spiffe://x/players/a"] {
            assert!(matches!(error(role), InvalidIdentity::UnknownRole(_)), "{role}");
        }
        for name in [
            "spiffe:///player/a",
            "spiffe://x/player/",
            "spiffe://x/player/..",
            "spiffe://x/player/a b",
        ] {
            assert!(matches!(error(name), InvalidIdentity::Name { .. }), "{name}");
        }
    }

    #[test]
    fn a_hostile_uri_is_cut_and_escaped() {
        let text = format!("urn:\u{1b}[2J{}", "x".repeat(100_000))
            .parse::<Identity>()
            .unwrap_err()
            .to_string();
        assert!(text.len() < 400 && !text.contains('\u{1b}'), "{text}");
    }
}
