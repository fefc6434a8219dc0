//! Tickets: the conductor's word that a player may fetch a bundle from any relay of the fleet.
//!
//! A ticket is signed with the key of the conductor's own certificate, which comes along, so that a
//! relay needs no further secret and calls nobody. It is not revoked: it ends within the hour.

use crate::{
    bundle::BundleId,
    ids::FlowId,
    journal::{ByteReader, push_bytes},
    limits,
    names::HostName,
    time::{Millis, Timestamp},
};

/// What is signed begins so. In a handshake the same key signs what begins with 64 spaces (RFC 8446,
/// section 4.4.3), so neither is ever taken for the other.
const CONTEXT: &[u8] = b"orchestra relay ticket 1\0";

/// The longest time from the making of a ticket to its end.
pub const TICKET_LASTS: Millis = Millis::minutes(60);

/// How far the clocks of a conductor and a relay may be apart.
const TOLERANCE: Millis = Millis::minutes(5);

/// Most certificates that come along, from the conductor's to one that the fleet's CA issued.
const CHAIN: usize = 4;
/// Longest certificate, in bytes.
const CERTIFICATE_BYTES: usize = 4 << 10;
/// Longest signature, in bytes: RSA with 4,096 bits has 512.
const SIGNATURE_BYTES: usize = 1 << 10;

/// What a conductor says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayTicket {
    /// The fleet's.
    pub domain: HostName,
    /// Who may fetch.
    pub player: HostName,
    pub bundle: BundleId,
    /// The flow that delivers it.
    pub flow: FlowId,
    /// When it was made, by the conductor's clock.
    pub made: Timestamp,
    /// From when on it is good no more, at most [`TICKET_LASTS`] later.
    pub expires: Timestamp,
}

/// A ticket, who signed it, and how. Whether the signature is good is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedTicket {
    pub ticket: RelayTicket,
    /// The conductor's certificate, and those that lead from it to the CA, in DER.
    pub chain: Vec<Vec<u8>>,
    /// The number of the signature's scheme in TLS (RFC 8446, section 4.2.3).
    pub scheme: u16,
    pub signature: Vec<u8>,
}

/// Why a ticket that a conductor has signed is not good for this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketFault {
    #[error("the ticket is for the fleet {found}, and this is {own}")]
    Domain { own: HostName, found: HostName },
    #[error("the ticket is for the player {found}, and the peer is {peer}")]
    Player { peer: HostName, found: HostName },
    #[error(
        "the ticket was good until {} by its conductor's clock, and here it is {}; they may be \
         {TOLERANCE} apart", expires.to_utc(), now.to_utc()
    )]
    Expired { expires: Timestamp, now: Timestamp },
    #[error(
        "the ticket was made at {} by its conductor's clock, and here it is {}; they may be \
         {TOLERANCE} apart", made.to_utc(), now.to_utc()
    )]
    FromTheFuture { made: Timestamp, now: Timestamp },
    #[error("the ticket would be good for {found}, and none is for longer than {TICKET_LASTS}")]
    Lasting { found: Millis },
}

/// Bytes are no signed ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ticket cannot be read")]
pub struct InvalidTicket;

impl RelayTicket {
    /// The bytes that a conductor signs.
    pub fn to_be_signed(&self) -> Vec<u8> {
        [CONTEXT, &self.encode()].concat()
    }

    /// Judges what a signed ticket says, by the clock of a relay: the peer is the player `peer`.
    pub fn judge(
        &self,
        own: &HostName,
        peer: &HostName,
        now: Timestamp,
    ) -> Result<(), TicketFault> {
        let Self { domain, player, made, expires, .. } = self;
        if domain != own {
            return Err(TicketFault::Domain { own: own.clone(), found: domain.clone() });
        }
        if player != peer {
            return Err(TicketFault::Player { peer: peer.clone(), found: player.clone() });
        }
        if expires.since(*made) > TICKET_LASTS {
            return Err(TicketFault::Lasting { found: expires.since(*made) });
        }
        if now >= expires.after(TOLERANCE) {
            return Err(TicketFault::Expired { expires: *expires, now });
        }
        if *made > now.after(TOLERANCE) {
            return Err(TicketFault::FromTheFuture { made: *made, now });
        }
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        push_bytes(&mut out, self.domain.as_str().as_bytes());
        push_bytes(&mut out, self.player.as_str().as_bytes());
        out.extend(self.bundle.0);
        for number in [self.flow.0, self.made.0, self.expires.0] {
            out.extend(number.to_le_bytes());
        }
        out
    }

    fn read(reader: &mut ByteReader<'_>) -> Option<Self> {
        let domain = HostName::new(reader.text(limits::HOST_NAME_BYTES)?).ok()?;
        let player = HostName::new(reader.text(limits::HOST_NAME_BYTES)?).ok()?;
        let bundle = BundleId(reader.array()?);
        let flow = FlowId(reader.u64()?);
        let (made, expires) = (Timestamp(reader.u64()?), Timestamp(reader.u64()?));
        Some(Self { domain, player, bundle, flow, made, expires })
    }
}

impl SignedTicket {
    /// Longest encoded ticket, in bytes.
    pub const BYTES: usize = 2 * (4 + limits::HOST_NAME_BYTES)
        + 32
        + 3 * 8
        + 1
        + CHAIN * (4 + CERTIFICATE_BYTES)
        + 2
        + 4
        + SIGNATURE_BYTES;

    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.ticket.encode();
        out.push(self.chain.len().min(CHAIN) as u8);
        self.chain.iter().take(CHAIN).for_each(|der| push_bytes(&mut out, der));
        out.extend(self.scheme.to_le_bytes());
        push_bytes(&mut out, &self.signature);
        out
    }

    /// Reads exactly what [`SignedTicket::encode`] writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidTicket> {
        let mut reader = ByteReader::new(bytes);
        let read = Self::read(&mut reader).filter(|_| reader.is_empty());
        read.ok_or(InvalidTicket)
    }

    fn read(reader: &mut ByteReader<'_>) -> Option<Self> {
        let ticket = RelayTicket::read(reader)?;
        let count = usize::from(reader.u8()?);
        if count > CHAIN {
            return None;
        }
        let mut chain = Vec::new();
        for _ in 0..count {
            chain.push(reader.counted(CERTIFICATE_BYTES)?.to_vec());
        }
        let scheme = reader.u16()?;
        let signature = reader.counted(SIGNATURE_BYTES)?.to_vec();
        Some(Self { ticket, chain, scheme, signature })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> HostName {
        HostName::new(name).unwrap()
    }

    fn ticket() -> RelayTicket {
        RelayTicket {
            domain: host("example.com"),
            player: host("fe1"),
            bundle: BundleId([3; 32]),
            flow: FlowId(42),
            made: Timestamp(10_000_000),
            expires: Timestamp(10_000_000 + TICKET_LASTS.0),
        }
    }

    #[test]
    fn a_ticket_is_read_as_it_is_written() {
        let signed = SignedTicket {
            ticket: ticket(),
            chain: vec![vec![1; 700], vec![2; 4096]],
            scheme: 0x0403,
            signature: vec![9; 71],
        };
        let bytes = signed.encode();
        assert!(bytes.len() <= SignedTicket::BYTES);
        assert_eq!(SignedTicket::decode(&bytes), Ok(signed));
        for len in 0..bytes.len() {
            assert_eq!(SignedTicket::decode(&bytes[..len]), Err(InvalidTicket), "{len}");
        }
        assert_eq!(SignedTicket::decode(&[&bytes[..], &[0]].concat()), Err(InvalidTicket));
    }

    #[test]
    fn a_ticket_is_good_for_its_player_its_fleet_and_its_time() {
        let judge = |ticket: &RelayTicket, own: &str, peer: &str, now: u64| {
            ticket.judge(&host(own), &host(peer), Timestamp(now))
        };
        let good = ticket();
        let (made, expires) = (good.made.0, good.expires.0);
        assert_eq!(judge(&good, "example.com", "fe1", made), Ok(()));
        assert_eq!(judge(&good, "example.com", "fe1", expires + 299_999), Ok(()));
        assert_eq!(judge(&good, "example.com", "fe1", made - 300_000), Ok(()));
        let wrong = |own, peer, now| judge(&good, own, peer, now).unwrap_err().to_string();
        assert_eq!(
            wrong("example.org", "fe1", made),
            "the ticket is for the fleet example.com, and this is example.org"
        );
        assert_eq!(
            wrong("example.com", "fe2", made),
            "the ticket is for the player fe1, and the peer is fe2"
        );
        let late = wrong("example.com", "fe1", expires + 300_000);
        assert!(
            late.contains("1970-01-01T03:46:40Z") && late.contains("1970-01-01T03:51:40Z"),
            "{late}"
        );
        let early = wrong("example.com", "fe1", made - 300_001);
        assert!(
            early.contains("1970-01-01T02:46:40Z") && early.contains("1970-01-01T02:41:39Z"),
            "{early}"
        );
        let lasting = RelayTicket { expires: Timestamp(expires + 1), ..good.clone() };
        let why = judge(&lasting, "example.com", "fe1", made).unwrap_err();
        assert!(matches!(why, TicketFault::Lasting { .. }), "{why}");
    }

    #[test]
    fn what_is_signed_is_nothing_else() {
        let mut other = ticket();
        other.flow = FlowId(43);
        assert_ne!(ticket().to_be_signed(), other.to_be_signed());
        assert!(ticket().to_be_signed().starts_with(b"orchestra relay ticket 1\0"));
    }
}
