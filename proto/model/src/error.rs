//! How an error is shown.

use std::error::Error;

/// An error and its causes, one after the other. To be rendered once, at the edge.
///
/// What a library repeats of its cause in its own message is not said twice.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut last = text.clone();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !last.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        last = said;
        next = cause.source();
    }
    text
}
