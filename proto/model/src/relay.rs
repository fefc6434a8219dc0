//! What a player and a relay say to each other: tickets, and the frames that carry bundles.

mod fetching;
mod frame;
mod ticket;

pub use fetching::{FetchReport, FetchSources, FetchStage, FetchStatus, RELAY_ADDRESS_BYTES};
pub use frame::{FrameHead, InvalidFrameHead, RelayFrame};
pub use ticket::{InvalidTicket, RelayTicket, SignedTicket, TICKET_LASTS, TicketFault};
