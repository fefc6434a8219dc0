//! Values of certificates as people read them in several places, with one spelling.

use orchestra_model::Timestamp;
use x509_parser::{certificate::X509Certificate, time::ASN1Time};

/// Returns a serial number as lower-case hex: as the log and `orchestra-certs show` print it, and
/// as a revocation list names it.
pub fn serial(certificate: &X509Certificate<'_>) -> String {
    orchestra_model::hex(certificate.raw_serial())
}

/// Returns when a certificate ends: the first moment at which it is not valid any more. It is valid up
/// to and including the second that it names (RFC 5280, section 4.1.2.5).
pub fn end(certificate: &X509Certificate<'_>) -> Timestamp {
    let last = certificate.validity().not_after.timestamp();
    Timestamp(u64::try_from(last).map_or(0, |last| last.saturating_add(1).saturating_mul(1_000)))
}

/// Returns a certificate's moment as RFC 3339 in UTC.
pub fn utc(moment: &ASN1Time) -> String {
    let at = moment.to_datetime();
    let (hour, minute, second) = (at.hour(), at.minute(), at.second());
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Returns a moment as RFC 3339 in UTC, to the second; it must be before the year 10000.
pub fn moment(moment: Timestamp) -> String {
    let seconds = i64::try_from(moment.0 / 1_000).ok();
    let moment = seconds.and_then(|seconds| ASN1Time::from_timestamp(seconds).ok());
    moment.map_or_else(|| "an unknown time".to_owned(), |moment| utc(&moment))
}
