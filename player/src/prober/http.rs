//! Reads the status of an answer over HTTP, once its header is complete.

use orchestra_model::service::HttpPath;

/// Most bytes that are read of an answer.
pub(super) const ANSWER_BYTES: usize = 4 << 10;
/// The length of `HTTP/1.1 200`.
const STATUS_LINE: usize = 12;

/// Returns the request that is sent.
pub(super) fn request(path: &HttpPath) -> Vec<u8> {
    let path = path.as_str();
    let fields = "Host: localhost\r\nUser-Agent: orchestra-prober\r\nAccept: */*\r\n";
    format!("GET {path} HTTP/1.1\r\n{fields}Connection: close\r\n\r\n").into_bytes()
}

/// Judges what was read so far; `None` if it is not enough. `over`: nothing more comes.
pub(super) fn judge(read: &[u8], over: bool) -> Option<Result<(), String>> {
    let wrong = |why: &str| Some(Err(why.to_owned()));
    let Some(line) = read.get(..STATUS_LINE) else {
        return match (over, read.is_empty()) {
            (false, _) => None,
            (true, true) => wrong("the connection was closed without an answer"),
            (true, false) => wrong("the connection was closed within the answer"),
        };
    };
    let Some(status) = status_of(line) else { return wrong("the answer is not HTTP/1") };
    if !has_whole_header(read) {
        return match (over, read.len() >= ANSWER_BYTES) {
            (true, _) => wrong("the connection was closed within the answer"),
            (false, true) => wrong("the answer's header has no end within 4 KiB"),
            (false, false) => None,
        };
    }
    match status {
        200..=399 => Some(Ok(())),
        _ => Some(Err(format!("HTTP status {status}"))),
    }
}

fn status_of(line: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(line).ok()?.strip_prefix("HTTP/1.")?;
    let (minor, status) = text.split_once(' ')?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    (digits(minor) && digits(status)).then(|| status.parse().ok()).flatten()
}

fn has_whole_header(read: &[u8]) -> bool {
    let ends = |end: &[u8]| read.windows(end.len()).any(|window| window == end);
    ends(b"\r\n\r\n") || ends(b"\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_header_with_a_good_status_is_healthy() {
        let said = |text: &str, over| judge(text.as_bytes(), over);
        assert_eq!(said("HTTP/1.1 200 OK\r\n\r\n", false), Some(Ok(())));
        assert_eq!(said("HTTP/1.0 302 Found\r\nLocation: x\r\n\r\nbody", false), Some(Ok(())));
        assert_eq!(said("HTTP/1.1 204\n\n", false), Some(Ok(())));
        for (text, over) in [("", false), ("HTTP/1.1 20", false), ("HTTP/1.1 200 OK\r\n", false)] {
            assert_eq!(said(text, over), None, "{text:?}");
        }
        for (text, over, why) in [
            ("", true, "the connection was closed without an answer"),
            ("HTTP/1.1 200 OK\r\n", true, "the connection was closed within the answer"),
            ("HTTP/1.1 503 x\r\n\r\n", false, "HTTP status 503"),
            ("HTTP/1.1 101 x\r\n\r\n", false, "HTTP status 101"),
            ("HTTP/2.0 200 OK\r\n\r\n", false, "the answer is not HTTP/1"),
            ("SSH-2.0-OpenSSH_9.6\r\n", false, "the answer is not HTTP/1"),
            ("HTTP/1.1 2x0 OK\r\n\r\n", false, "the answer is not HTTP/1"),
        ] {
            assert_eq!(said(text, over), Some(Err(why.to_owned())), "{text:?}");
        }
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(ANSWER_BYTES));
        let why = "the answer's header has no end within 4 KiB";
        assert_eq!(said(&endless, false), Some(Err(why.to_owned())));
    }
}
