//! Putting chunked records together again.

use std::fmt;

use crate::ReadError;

/// The pieces of a record, to be concatenated, out of numbered ones that come in order. `None`
/// where there are none; a gap is an error.
pub(crate) fn in_order<P>(
    table: &'static str,
    key: impl fmt::Display,
    numbered: impl IntoIterator<Item = (u32, P)>,
) -> Result<Option<Vec<P>>, ReadError> {
    let mut pieces = Vec::new();
    for (expected, (number, piece)) in (0..).zip(numbered) {
        if number != expected {
            let problem = format!("piece {expected} is missing");
            return Err(ReadError::Corrupt { table, key: key.to_string(), problem });
        }
        pieces.push(piece);
    }
    Ok((!pieces.is_empty()).then_some(pieces))
}
