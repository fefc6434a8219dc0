use std::io;

use proptest::prelude::*;

use super::*;

/// Takes and gives bytes in pieces of these sizes, over and over; 0: would block.
struct Pipe {
    bytes: VecDeque<u8>,
    pieces: Vec<usize>,
    turn: usize,
}

impl Pipe {
    fn new(pieces: Vec<usize>) -> Self {
        Self { bytes: VecDeque::new(), pieces, turn: 0 }
    }

    fn holding(bytes: &[u8]) -> Self {
        Self { bytes: bytes.iter().copied().collect(), ..Self::new(vec![usize::MAX]) }
    }

    fn turn(&mut self) -> io::Result<usize> {
        let piece = self.pieces[self.turn % self.pieces.len()];
        self.turn += 1;
        if piece == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(piece) }
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let piece = self.turn()?.min(buffer.len());
        Read::read(&mut self.bytes, &mut buffer[..piece])
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let piece = self.turn()?;
        let held = self.bytes.len();
        self.bytes.extend(slices.iter().flat_map(|slice| slice.iter()).take(piece));
        Ok(self.bytes.len() - held)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn session() -> impl Strategy<Value = AgentSession> {
    any::<u64>().prop_map(AgentSession)
}

fn payload() -> impl Strategy<Value = Bytes> {
    // Around the length from which payloads are not copied, and beyond a chunk.
    let length = prop_oneof![0..20_usize, COPIED - 2..COPIED + 2, Just(CHUNK * 3)];
    (length, any::<u8>()).prop_map(|(length, byte)| Bytes::from(vec![byte; length]))
}

fn to_sitter() -> impl Strategy<Value = ToSitter> {
    prop_oneof![
        session().prop_map(|session| ToSitter::Open { session }),
        (session(), any::<[u8; 16]>(), any::<u64>()).prop_map(|(session, store, term)| {
            ToSitter::Welcomed { session, store: StoreId(store), term: Term(term) }
        }),
        (session(), payload()).prop_map(|(session, bytes)| ToSitter::Command { session, bytes }),
        session().prop_map(|session| ToSitter::Closed { session }),
        any::<u64>().prop_map(|fetch| ToSitter::Fetched { fetch: FetchNumber(fetch) }),
        (any::<u64>(), payload())
            .prop_map(|(fetch, why)| ToSitter::NotFetched { fetch: FetchNumber(fetch), why }),
    ]
}

fn to_agent() -> impl Strategy<Value = ToAgent> {
    prop_oneof![
        (session(), payload()).prop_map(|(session, bytes)| ToAgent::Snapshot { session, bytes }),
        (session(), payload()).prop_map(|(session, bytes)| ToAgent::Report { session, bytes }),
        session().prop_map(|session| ToAgent::Reattach { session }),
        (any::<u64>(), payload())
            .prop_map(|(fetch, order)| ToAgent::Fetch { fetch: FetchNumber(fetch), order }),
        any::<u64>().prop_map(|fetch| ToAgent::StopFetch { fetch: FetchNumber(fetch) }),
    ]
}

fn pieces() -> impl Strategy<Value = Vec<usize>> {
    // The last one makes progress certain.
    (prop::collection::vec(0..10_000_usize, 0..8), 1..10_000_usize).prop_map(|(mut sizes, last)| {
        sizes.push(last);
        sizes
    })
}

/// Sends frames through pipes that give and take in pieces.
fn carry<F: Frame + Clone>(frames: &[F], writes: Vec<usize>, reads: Vec<usize>) -> Vec<F> {
    let mut outbox = Outbox::default();
    for frame in frames {
        outbox.push(frame.clone()).unwrap();
    }
    let mut pipe = Pipe::new(writes);
    while !outbox.flush(&mut pipe).unwrap() {}
    assert!(outbox.is_empty() && outbox.pieces.is_empty() && outbox.open.is_empty());

    pipe = Pipe { bytes: pipe.bytes, ..Pipe::new(reads) };
    let mut inbox = Inbox::<F>::default();
    let mut carried = Vec::new();
    loop {
        match inbox.fill(&mut pipe) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
        while let Some(frame) = inbox.next_frame().unwrap() {
            carried.push(frame);
        }
    }
    assert!(inbox.buffer.is_empty());
    carried
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn frames_to_the_sitter_survive_any_split(
        frames in prop::collection::vec(to_sitter(), 0..40), writes in pieces(), reads in pieces()
    ) {
        prop_assert_eq!(carry(&frames, writes, reads), frames);
    }

    #[test]
    fn frames_to_the_agent_survive_any_split(
        frames in prop::collection::vec(to_agent(), 0..40), writes in pieces(), reads in pieces()
    ) {
        prop_assert_eq!(carry(&frames, writes, reads), frames);
    }

    #[test]
    fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut inbox = Inbox::<ToSitter>::default();
        let mut pipe = Pipe::holding(&bytes);
        while let Ok(Some(_)) = inbox.receive(&mut pipe) {}
    }
}

/// What an inbox makes of these bytes.
fn understood<F: Frame>(bytes: &[u8]) -> Result<Option<F>, InvalidFrame> {
    let mut inbox = Inbox::default();
    inbox.fill(&mut Pipe::holding(bytes)).unwrap();
    inbox.next_frame()
}

#[test]
fn a_length_beyond_the_bound_is_refused_before_anything_is_kept() {
    let bytes = (MAX + 1).to_le_bytes();
    assert_eq!(understood::<ToAgent>(&bytes), Err(InvalidFrame::TooLong(MAX + 1)));
    assert_eq!(understood::<ToAgent>(&[0; 4]), Err(InvalidFrame::Empty));
}

#[test]
fn a_payload_beyond_the_bound_is_not_queued() {
    let mut outbox = Outbox::default();
    let session = AgentSession(1);
    let bytes = Bytes::from(vec![0; PAYLOAD_BYTES + 1]);
    assert_eq!(
        outbox.push(ToAgent::Report { session, bytes: bytes.clone() }),
        Err(PayloadTooLong(PAYLOAD_BYTES + 1))
    );
    assert!(outbox.is_empty());
    let frame = ToAgent::Report { session, bytes: bytes.slice(1..) };
    let frames = [frame];
    assert_eq!(carry(&frames, vec![usize::MAX], vec![usize::MAX]), frames);
}

#[test]
fn what_was_queued_is_counted_until_it_is_written() {
    let mut outbox = Outbox::default();
    outbox.push(ToSitter::Open { session: AgentSession(1) }).unwrap();
    assert_eq!(outbox.queued(), 13);
    let mut pipe = Pipe::new(vec![5, 0]);
    assert!(!outbox.flush(&mut pipe).unwrap());
    assert_eq!(outbox.queued(), 8);
}

#[test]
fn frames_of_the_other_direction_are_refused() {
    let bytes = [&9_u32.to_le_bytes()[..], &[kind::OPEN], &[0; 8]].concat();
    assert!(understood::<ToSitter>(&bytes).is_ok());
    assert_eq!(understood::<ToAgent>(&bytes), Err(InvalidFrame::Kind(kind::OPEN)));
}

#[test]
fn wrong_lengths_are_refused() {
    let frame = |kind: u8, length: usize| {
        [&(length as u32 + 1).to_le_bytes()[..], &[kind], &vec![0; length]].concat()
    };
    for (kind, bytes) in [(kind::OPEN, 7), (kind::OPEN, 9), (kind::WELCOMED, 31), (kind::CLOSED, 0)]
    {
        let error = InvalidFrame::Length { kind, bytes };
        assert_eq!(understood::<ToSitter>(&frame(kind, bytes)), Err(error));
    }
}

#[test]
fn an_end_within_a_frame_is_told_from_one_between_frames() {
    let bytes = [&9_u32.to_le_bytes()[..], &[kind::OPEN], &[0; 8]].concat();
    let mut inbox = Inbox::<ToSitter>::default();
    let mut pipe = Pipe::holding(&bytes);
    assert!(inbox.receive(&mut pipe).unwrap().is_some());
    assert!(inbox.receive(&mut pipe).unwrap().is_none());
    let mut pipe = Pipe::holding(&bytes[..5]);
    assert!(matches!(
        inbox.receive(&mut pipe),
        Err(ReceiveError::Read(error)) if error.kind() == io::ErrorKind::UnexpectedEof
    ));
}

#[test]
fn a_long_frame_leaves_no_large_buffer_behind() {
    let mut outbox = Outbox::default();
    let bytes = Bytes::from(vec![0; 4 << 20]);
    outbox.push(ToAgent::Report { session: AgentSession(1), bytes }).unwrap();
    let mut pipe = Pipe::new(vec![usize::MAX]);
    assert!(outbox.flush(&mut pipe).unwrap());
    let mut inbox = Inbox::<ToAgent>::default();
    assert!(inbox.receive(&mut pipe).unwrap().is_some());
    assert!(inbox.buffer.capacity() <= KEPT);
}
