//! Bytes in hexadecimal.

/// Spells bytes in hexadecimal, in lower case.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads bytes from hexadecimal, in either case; `None` for anything else.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    // The number parser would take a sign.
    let is_hex = text.len().is_multiple_of(2) && text.bytes().all(|it| it.is_ascii_hexdigit());
    let pairs = (0..text.len()).step_by(2).filter(|_| is_hex);
    let bytes: Vec<u8> = pairs
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect::<Option<_>>()?;
    is_hex.then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spelt_is_read_again_and_nothing_else_is() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(from_hex(&hex(&all)), Some(all));
        assert_eq!(from_hex("0aFf"), Some(vec![10, 255]));
        assert_eq!(from_hex(""), Some(Vec::new()));
        for wrong in ["0", "0x", "+1", "é", "0 ", "zz"] {
            assert_eq!(from_hex(wrong), None, "{wrong}");
        }
    }
}
