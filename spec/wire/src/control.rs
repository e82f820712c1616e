//! Messages over Unix sockets: between a local program and the front, and between the front and its workers.
//!
//! Sockets are `SOCK_STREAM`. A message is a head of 16 bytes ([`HEAD_BYTES`]: kind, body length, cookie) and a body in the
//! encoding of [`crate::payload`]; file descriptors travel with its first byte (`SCM_RIGHTS`), as many as the kind says.
//! A request carries a cookie, and exactly one [`Message::Done`] answers it with the same cookie, in any order.
//! The receiver closes the connection on anything malformed.

use crate::Malformed;
use crate::payload::{Full, Reader, Writer};

/// Bytes of a message's head.
pub const HEAD_BYTES: usize = 16;
/// Most bytes of a body (a piece list of [`crate::device::MAX_PIN_PAGES`] single pages, and its head).
pub const MAX_BODY_BYTES: usize = 24 * crate::device::MAX_PIN_PAGES as usize + 256;
/// Most memory regions of a guest.
pub const MAX_REGIONS: u32 = 32;
/// In [`Piece::region`]: the file that came with the message.
pub const REGION_ATTACHED: u32 = u32::MAX;

/// Why a session is dead; kept in the window's header and in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Death {
    /// It was closed in order.
    Closed = 1,
    /// The worker ended by itself or was killed.
    WorkerEnded = 2,
    /// The guest broke the protocol.
    Malformed = 3,
    /// A call ran longer than the limit.
    TimedOut = 4,
    /// The front ends, or the guest was reset.
    FrontEnded = 5,
}

/// A run of bytes in a region's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The region's number, or [`REGION_ATTACHED`].
    pub region: u32,
    /// Offset in the region's file, a multiple of the page size.
    pub offset: u64,
    /// Length in bytes, a multiple of the page size, not 0.
    pub bytes: u64,
}

/// A message, without its file descriptors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Program to front: asks for a session. Answered by [`Message::Welcome`], or by `Done` with a status.
    Hello {
        /// [`crate::WIRE_VERSION`].
        wire_version: u32,
        /// The program's process id, for the log.
        process: u32,
        /// The program's name, padded with zeros, for the log.
        name: [u8; 16],
    },
    /// Front to program: the session is open. Two descriptors: the window's memory, the doorbell (an eventfd).
    Welcome {
        /// [`crate::WIRE_VERSION`].
        wire_version: u32,
        /// Bytes of the window.
        window_bytes: u64,
    },
    /// Front to worker: a region of guest memory. One descriptor: the region's file.
    Region {
        /// The region's number, below [`MAX_REGIONS`].
        region: u32,
        /// Offset of the region in the file.
        offset: u64,
        /// Length in bytes.
        bytes: u64,
    },
    /// Front to worker: serve a session. Three descriptors: doorbell and wake (eventfds), and the ledger of its guest's
    /// device memory; with an attached window another before them: the window's memory. The worker signals `wake` where a
    /// guest thread sleeps; without it (`futex`), it wakes the word.
    Open {
        /// The session's number, for the log.
        session: u32,
        /// Whether guest threads sleep by futex on the window's words (local carrier).
        futex: bool,
        /// The session's row in the ledger.
        row: u32,
        /// The window's pages in order.
        window: Vec<Piece>,
    },
    /// Program to front, front to worker: lends memory. One descriptor where a piece says [`REGION_ATTACHED`].
    Pin {
        /// The lease's number.
        lease: u32,
        /// `PIN_READ | PIN_WRITE` ([`crate::device`]).
        flags: u32,
        /// Address of the first byte in the program.
        address: u64,
        /// Length in bytes.
        bytes: u64,
        /// The pages in order.
        pieces: Vec<Piece>,
    },
    /// Program to front, front to worker: ends a lease.
    Unpin {
        /// The lease's number.
        lease: u32,
    },
    /// Worker to front: the library is loaded and initialized; a session may be opened.
    Ready,
    /// Worker to front: keeps a descriptor for the workers of the same guest, until this one ends or lets it go. One descriptor.
    Keep {
        /// What it is asked for by: 128 random bits.
        token: [u64; 2],
        /// Bytes of the memory that it stands for; 0 where that is not known.
        bytes: u64,
    },
    /// Worker to front: asks for a descriptor that a worker of the same guest has given. Answered by [`Message::Kept`], or by
    /// `Done` with a status.
    Fetch {
        /// As it was kept.
        token: [u64; 2],
    },
    /// Front to worker: here it is. One descriptor.
    Kept {
        /// As it was kept.
        bytes: u64,
    },
    /// Worker to front: a descriptor that it gave is wanted no more. Not answered.
    LetGo {
        /// As it was kept.
        token: [u64; 2],
    },
    /// Answers a request.
    Done {
        /// `RESPONSE_*` ([`crate::device`]).
        status: u32,
    },
}

const HELLO: u32 = 1;
const WELCOME: u32 = 2;
const REGION: u32 = 3;
const OPEN: u32 = 4;
const PIN: u32 = 5;
const UNPIN: u32 = 6;
const READY: u32 = 7;
const DONE: u32 = 8;
const KEEP: u32 = 9;
const FETCH: u32 = 10;
const KEPT: u32 = 11;
const LET_GO: u32 = 12;

/// The head of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    kind: u32,
    /// Bytes of the body that follows, at most [`MAX_BODY_BYTES`].
    pub body: u32,
    /// Pairs a request with its answer.
    pub cookie: u64,
}

impl Head {
    /// Reads a head.
    /// # Errors
    /// [`Malformed`] for an unknown kind or a body over [`MAX_BODY_BYTES`].
    pub fn from_bytes(raw: &[u8; HEAD_BYTES]) -> Result<Head, Malformed> {
        let mut reader = Reader::new(raw);
        let head = Head { kind: reader.u32()?, body: reader.u32()?, cookie: reader.u64()? };
        if !(HELLO..=LET_GO).contains(&head.kind) {
            return Err(Malformed::new("control message of an unknown kind"));
        }
        if head.body as usize > MAX_BODY_BYTES {
            return Err(Malformed::new("control message too long"));
        }
        Ok(head)
    }
}

fn write_token(writer: &mut Writer<'_>, token: &[u64; 2]) -> Result<(), Full> {
    token.iter().try_for_each(|word| writer.u64(*word))
}

fn write_pieces(writer: &mut Writer<'_>, pieces: &[Piece]) -> Result<(), Full> {
    writer.u32(u32::try_from(pieces.len()).map_err(|_| Full)?)?;
    for piece in pieces {
        writer.u32(piece.region)?;
        writer.u64(piece.offset)?;
        writer.u64(piece.bytes)?;
    }
    Ok(())
}

fn read_pieces(reader: &mut Reader<'_>) -> Result<Vec<Piece>, Malformed> {
    let count = reader.u32()?;
    if count > crate::device::MAX_PIN_PAGES {
        return Err(Malformed::new("too many pieces"));
    }
    let mut pieces = Vec::new();
    for _ in 0..count {
        let piece = Piece { region: reader.u32()?, offset: reader.u64()?, bytes: reader.u64()? };
        let page = u64::from(crate::device::PAGE_BYTES);
        if piece.region >= MAX_REGIONS && piece.region != REGION_ATTACHED
            || piece.bytes == 0
            || !piece.bytes.is_multiple_of(page)
            || !piece.offset.is_multiple_of(page)
            || piece.offset.checked_add(piece.bytes).is_none()
        {
            return Err(Malformed::new("piece out of bounds"));
        }
        pieces.push(piece);
    }
    Ok(pieces)
}

impl Message {
    fn kind(&self) -> u32 {
        match self {
            Message::Hello { .. } => HELLO,
            Message::Welcome { .. } => WELCOME,
            Message::Region { .. } => REGION,
            Message::Open { .. } => OPEN,
            Message::Pin { .. } => PIN,
            Message::Unpin { .. } => UNPIN,
            Message::Ready => READY,
            Message::Done { .. } => DONE,
            Message::Keep { .. } => KEEP,
            Message::Fetch { .. } => FETCH,
            Message::Kept { .. } => KEPT,
            Message::LetGo { .. } => LET_GO,
        }
    }

    fn write_body(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        match self {
            Message::Hello { wire_version, process, name } => {
                writer.u32(*wire_version)?;
                writer.u32(*process)?;
                writer.raw(name)
            }
            Message::Welcome { wire_version, window_bytes } => {
                writer.u32(*wire_version)?;
                writer.u64(*window_bytes)
            }
            Message::Region { region, offset, bytes } => {
                writer.u32(*region)?;
                writer.u64(*offset)?;
                writer.u64(*bytes)
            }
            Message::Open { session, futex, row, window } => {
                writer.u32(*session)?;
                writer.u32(u32::from(*futex))?;
                writer.u32(*row)?;
                write_pieces(writer, window)
            }
            Message::Pin { lease, flags, address, bytes, pieces } => {
                writer.u32(*lease)?;
                writer.u32(*flags)?;
                writer.u64(*address)?;
                writer.u64(*bytes)?;
                write_pieces(writer, pieces)
            }
            Message::Unpin { lease } => writer.u32(*lease),
            Message::Ready => Ok(()),
            Message::Done { status } => writer.u32(*status),
            Message::Keep { token, bytes } => {
                write_token(writer, token)?;
                writer.u64(*bytes)
            }
            Message::Fetch { token } | Message::LetGo { token } => write_token(writer, token),
            Message::Kept { bytes } => writer.u64(*bytes),
        }
    }

    /// The message's bytes, head included.
    /// # Errors
    /// [`Full`] where it has more pieces than [`crate::device::MAX_PIN_PAGES`].
    pub fn to_bytes(&self, cookie: u64) -> Result<Vec<u8>, Full> {
        let pieces = match self {
            Message::Open { window: pieces, .. } | Message::Pin { pieces, .. } => pieces.len(),
            _ => 0,
        };
        let mut out = vec![0; HEAD_BYTES + (pieces * 24 + 128).min(MAX_BODY_BYTES)];
        let mut writer = Writer::new(&mut out[HEAD_BYTES..]);
        self.write_body(&mut writer)?;
        let body = writer.len();
        out.truncate(HEAD_BYTES + body);
        let mut head = Writer::new(&mut out[..HEAD_BYTES]);
        head.u32(self.kind())?;
        head.u32(u32::try_from(body).map_err(|_| Full)?)?;
        head.u64(cookie)?;
        Ok(out)
    }

    /// Reads a body.
    /// # Errors
    /// [`Malformed`] where it does not fit its kind to the byte.
    pub fn from_bytes(head: &Head, body: &[u8]) -> Result<Message, Malformed> {
        let mut reader = Reader::new(body);
        let message = match head.kind {
            HELLO => {
                let (wire_version, process) = (reader.u32()?, reader.u32()?);
                let mut name = [0; 16];
                name.copy_from_slice(reader.raw(16)?);
                Message::Hello { wire_version, process, name }
            }
            WELCOME => Message::Welcome { wire_version: reader.u32()?, window_bytes: reader.u64()? },
            REGION => Message::Region { region: reader.u32()?, offset: reader.u64()?, bytes: reader.u64()? },
            OPEN => {
                let (session, futex, row) = (reader.u32()?, reader.u32()? != 0, reader.u32()?);
                Message::Open { session, futex, row, window: read_pieces(&mut reader)? }
            }
            PIN => Message::Pin {
                lease: reader.u32()?,
                flags: reader.u32()?,
                address: reader.u64()?,
                bytes: reader.u64()?,
                pieces: read_pieces(&mut reader)?,
            },
            UNPIN => Message::Unpin { lease: reader.u32()? },
            READY => Message::Ready,
            DONE => Message::Done { status: reader.u32()? },
            KEEP => Message::Keep { token: [reader.u64()?, reader.u64()?], bytes: reader.u64()? },
            FETCH => Message::Fetch { token: [reader.u64()?, reader.u64()?] },
            KEPT => Message::Kept { bytes: reader.u64()? },
            LET_GO => Message::LetGo { token: [reader.u64()?, reader.u64()?] },
            _ => return Err(Malformed::new("control message of an unknown kind")),
        };
        reader.end()?;
        Ok(message)
    }

    /// How many file descriptors come with the message.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        let attached = |pieces: &[Piece]| usize::from(pieces.iter().any(|piece| piece.region == REGION_ATTACHED));
        match self {
            Message::Welcome { .. } => 2,
            Message::Region { .. } | Message::Keep { .. } | Message::Kept { .. } => 1,
            Message::Open { window, .. } => 3 + attached(window),
            Message::Pin { pieces, .. } => attached(pieces),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages() -> Vec<Message> {
        let piece = Piece { region: 1, offset: 4096, bytes: 8192 };
        vec![
            Message::Hello { wire_version: 1, process: 7, name: *b"program\0\0\0\0\0\0\0\0\0" },
            Message::Welcome { wire_version: 1, window_bytes: 1 << 24 },
            Message::Region { region: 0, offset: 0, bytes: 1 << 29 },
            Message::Open { session: 3, futex: true, row: 2, window: vec![Piece { region: REGION_ATTACHED, ..piece }] },
            Message::Pin { lease: 1, flags: 3, address: 0x6000_0000_0010, bytes: 5000, pieces: vec![piece, piece] },
            Message::Unpin { lease: 1 },
            Message::Ready,
            Message::Done { status: 4 },
            Message::Keep { token: [5, 6], bytes: 1 << 21 },
            Message::Fetch { token: [5, 6] },
            Message::Kept { bytes: 1 << 21 },
            Message::LetGo { token: [5, 6] },
        ]
    }

    fn read(bytes: &[u8]) -> Result<Message, Malformed> {
        let mut raw = [0; HEAD_BYTES];
        raw.copy_from_slice(&bytes[..HEAD_BYTES]);
        Message::from_bytes(&Head::from_bytes(&raw)?, &bytes[HEAD_BYTES..])
    }

    #[test]
    fn message_when_written_and_read_then_is_the_same() {
        for message in messages() {
            let bytes = message.to_bytes(42).expect("fits");
            assert_eq!(read(&bytes), Ok(message));
        }
    }

    #[test]
    fn message_when_cut_or_prolonged_then_is_malformed() {
        for message in messages() {
            let mut bytes = message.to_bytes(42).expect("fits");
            bytes.push(0);
            assert!(read(&bytes).is_err(), "{message:?}");
            bytes.pop();
            if bytes.len() > HEAD_BYTES {
                bytes.pop();
                assert!(read(&bytes).is_err(), "{message:?}");
            }
        }
    }

    #[test]
    fn pieces_when_not_whole_pages_or_too_many_then_are_malformed() {
        let bad = [
            Piece { region: 0, offset: 1, bytes: 4096 },
            Piece { region: 0, offset: 0, bytes: 0 },
            Piece { region: 32, offset: 0, bytes: 4096 },
            Piece { region: 0, offset: !4095, bytes: 8192 },
        ];
        for piece in bad {
            let pin = Message::Pin { lease: 0, flags: 1, address: 0, bytes: 1, pieces: vec![piece] };
            assert!(read(&pin.to_bytes(0).expect("fits")).is_err(), "{piece:?}");
        }
    }
}
