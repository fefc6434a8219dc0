//! What is said of logs.

use orchestra_model::{
    names::ServiceName,
    service::{
        CHUNK_BYTES, LogChunk, LogEnd, LogPart, LogPlace, LogQuery, LogRuns, LogSource, LogStream,
        Placement, ReadLog, ReadingId, RunNumber,
    },
};

use crate::{
    flow::{moment, moment_ms},
    invalid::{InField, Invalid},
    v1,
};

impl From<LogPlace> for v1::LogPlace {
    fn from(place: LogPlace) -> Self {
        Self { file: place.file, offset: place.offset }
    }
}

impl From<v1::LogPlace> for LogPlace {
    fn from(place: v1::LogPlace) -> Self {
        Self { file: place.file, offset: place.offset }
    }
}

/// Spells a stream.
pub fn stream_to_wire(stream: LogStream) -> v1::log_query::Stream {
    use v1::log_query::Stream;
    match stream {
        LogStream::Stdout => Stream::Stdout,
        LogStream::Stderr => Stream::Stderr,
    }
}

/// Reads a stream.
pub fn stream_from_wire(stream: i32, field: &'static str) -> Result<LogStream, Invalid> {
    use v1::log_query::Stream;
    match Stream::try_from(stream).in_field(field)? {
        Stream::Stdout => Ok(LogStream::Stdout),
        Stream::Stderr => Ok(LogStream::Stderr),
        Stream::Unspecified => Err(Invalid::field(field)),
    }
}

impl From<&LogQuery> for v1::LogQuery {
    fn from(query: &LogQuery) -> Self {
        use v1::log_query::Runs;
        Self {
            stream: stream_to_wire(query.stream).into(),
            runs: match query.runs {
                LogRuns::Newest => None,
                LogRuns::Previous => Some(Runs::Previous(v1::Empty {})),
                LogRuns::Number(number) => Some(Runs::Run(number.0)),
                LogRuns::All => Some(Runs::All(v1::Empty {})),
            },
            tail: query.tail,
            since_ms: moment_ms(query.since),
            from: query.from.map(Into::into),
            follow: query.follow,
        }
    }
}

impl TryFrom<&v1::LogQuery> for LogQuery {
    type Error = Invalid;

    fn try_from(query: &v1::LogQuery) -> Result<Self, Invalid> {
        use v1::log_query::Runs;
        Ok(LogQuery {
            stream: stream_from_wire(query.stream, "LogQuery.stream")?,
            runs: match query.runs {
                None => LogRuns::Newest,
                Some(Runs::Previous(_)) => LogRuns::Previous,
                Some(Runs::Run(0)) => return Err(Invalid::field("LogQuery.run")),
                Some(Runs::Run(number)) => LogRuns::Number(RunNumber(number)),
                Some(Runs::All(_)) => LogRuns::All,
            },
            tail: query.tail,
            since: moment(query.since_ms),
            from: query.from.map(Into::into),
            follow: query.follow,
        })
    }
}

impl From<&ReadLog> for v1::ReadLog {
    fn from(read: &ReadLog) -> Self {
        use v1::read_log::Of;
        let of = match &read.of {
            LogSource::Unit(service) => Of::Unit(v1::LogOfUnit { service: service.to_string() }),
            LogSource::Attempt(key) => Of::Attempt((*key).into()),
        };
        Self {
            reading: read.reading.0,
            of: Some(of),
            query: Some((&read.query).into()),
            credit: read.credit,
        }
    }
}

impl TryFrom<&v1::ReadLog> for ReadLog {
    type Error = Invalid;

    fn try_from(read: &v1::ReadLog) -> Result<Self, Invalid> {
        use v1::read_log::Of;
        let of = match read.of.as_ref().in_field("ReadLog.of")? {
            Of::Unit(unit) => {
                let service = ServiceName::new(&unit.service).in_field("LogOfUnit.service")?;
                LogSource::Unit(service)
            }
            Of::Attempt(key) => LogSource::Attempt(key.try_into()?),
        };
        Ok(ReadLog {
            reading: ReadingId(read.reading),
            of,
            query: read.query.as_ref().in_field("ReadLog.query")?.try_into()?,
            credit: read.credit,
        })
    }
}

impl From<LogChunk> for v1::LogChunk {
    fn from(chunk: LogChunk) -> Self {
        Self {
            run: chunk.run.0,
            placement: chunk.placement.0,
            at_ms: moment_ms(chunk.at),
            bytes: chunk.bytes.into(),
            gap: chunk.gap,
            next: Some(chunk.next.into()),
        }
    }
}

impl TryFrom<v1::LogChunk> for LogChunk {
    type Error = Invalid;

    fn try_from(chunk: v1::LogChunk) -> Result<Self, Invalid> {
        if chunk.bytes.len() > CHUNK_BYTES {
            return Err(Invalid::field("LogChunk.bytes"));
        }
        Ok(LogChunk {
            run: RunNumber(chunk.run),
            placement: Placement(chunk.placement),
            at: moment(chunk.at_ms),
            bytes: chunk.bytes.into(),
            gap: chunk.gap,
            next: chunk.next.in_field("LogChunk.next")?.into(),
        })
    }
}

/// Spells what a player says of a reading.
pub fn log_part_to_wire(reading: ReadingId, part: LogPart) -> v1::LogPart {
    use v1::{log_end::Reason, log_part::Part};
    let end = |reason: Reason, detail| Part::End(v1::LogEnd { reason: reason.into(), detail });
    let part = match part {
        LogPart::Chunk(chunk) => Part::Chunk(chunk.into()),
        LogPart::End(LogEnd::All) => end(Reason::All, String::new()),
        LogPart::End(LogEnd::Gone) => end(Reason::Gone, String::new()),
        LogPart::End(LogEnd::Failed(why)) => end(Reason::Failed, why),
        LogPart::End(LogEnd::TooMany) => end(Reason::TooMany, String::new()),
    };
    v1::LogPart { reading: reading.0, part: Some(part) }
}

/// Reads what a player says of a reading.
pub fn log_part_from_wire(part: v1::LogPart) -> Result<(ReadingId, LogPart), Invalid> {
    use v1::{log_end::Reason, log_part::Part};
    let read = match part.part.in_field("LogPart.part")? {
        Part::Chunk(chunk) => LogPart::Chunk(chunk.try_into()?),
        Part::End(end) => {
            LogPart::End(match Reason::try_from(end.reason).in_field("LogEnd.reason")? {
                Reason::All => LogEnd::All,
                Reason::Gone => LogEnd::Gone,
                Reason::TooMany => LogEnd::TooMany,
                Reason::Failed | Reason::Unspecified => LogEnd::Failed(end.detail),
            })
        }
    };
    Ok((ReadingId(part.reading), read))
}
