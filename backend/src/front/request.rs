//! Requests of the control queue, from bytes in private memory. Everything that can be checked without the guest's memory is
//! checked here.

use wire::Malformed;
use wire::device::{
    Extent, MAX_LEASES, PAGE_BYTES, PIN_READ, PIN_WRITE, REQUEST_CLOSE, REQUEST_OPEN, REQUEST_OPEN_KEPT, REQUEST_PIN,
    REQUEST_UNPIN,
};
use wire::payload::Reader;

/// Limits that the configuration space announces.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sessions of the device.
    pub max_sessions: u32,
    /// Bytes of a window.
    pub window_bytes: u32,
    /// Pages in one pin request.
    pub max_pin_pages: u32,
}

/// A request that is right in itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Opens a session.
    Open {
        /// Its number.
        session: u32,
        /// The process's id in the guest.
        process: u32,
        /// The process's name, fit for the log.
        name: String,
        /// The window's pages.
        window: Vec<Extent>,
        /// The driver closes it before it resets the device.
        kept: bool,
    },
    /// Closes a session.
    Close {
        /// Its number.
        session: u32,
    },
    /// Lends pages.
    Pin {
        /// The session's number.
        session: u32,
        /// The lease's number.
        lease: u32,
        /// `PIN_READ | PIN_WRITE`.
        flags: u32,
        /// Address of the first byte in the process.
        address: u64,
        /// Length in bytes.
        bytes: u64,
        /// The pages.
        pages: Vec<Extent>,
    },
    /// Ends a lease.
    Unpin {
        /// The session's number.
        session: u32,
        /// The lease's number.
        lease: u32,
    },
}

/// A name from the guest, made fit for the log: up to the first zero, printable ASCII.
#[must_use]
pub fn printable(name: &[u8; 16]) -> String {
    let bytes = name.iter().take_while(|byte| **byte != 0);
    bytes.map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '?' }).collect()
}

fn extents(reader: &mut Reader<'_>, count: u32, max_pages: u32) -> Result<(Vec<Extent>, u64), Malformed> {
    if count > max_pages {
        return Err(Malformed::new("more extents than pages allowed"));
    }
    let page = u64::from(PAGE_BYTES);
    let mut list = Vec::new();
    let mut total = 0u64;
    for _ in 0..count {
        let extent = Extent { address: reader.u64()?, pages: reader.u32()?, reserved: reader.u32()? };
        if !extent.address.is_multiple_of(page) || extent.pages == 0 || extent.reserved != 0 {
            return Err(Malformed::new("extent is not whole pages, or its reserved word is not zero"));
        }
        if extent.address.checked_add(u64::from(extent.pages) * page).is_none() {
            return Err(Malformed::new("extent wraps"));
        }
        total += u64::from(extent.pages);
        if total > u64::from(max_pages) {
            return Err(Malformed::new("more pages than allowed"));
        }
        list.push(extent);
    }
    Ok((list, total))
}

impl Request {
    /// Reads a request and checks it against the limits.
    /// # Errors
    /// [`Malformed`] for anything that is not exactly a request.
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Request, Malformed> {
        let mut reader = Reader::new(bytes);
        let (kind, session) = (reader.u32()?, reader.u32()?);
        if session >= limits.max_sessions {
            return Err(Malformed::new("session number over the limit"));
        }
        let request = match kind {
            REQUEST_OPEN | REQUEST_OPEN_KEPT => open(&mut reader, session, kind == REQUEST_OPEN_KEPT, limits)?,
            REQUEST_CLOSE => Request::Close { session },
            REQUEST_PIN => pin(&mut reader, session, limits)?,
            REQUEST_UNPIN => {
                let (lease, reserved) = (reader.u32()?, reader.u32()?);
                if lease >= MAX_LEASES || reserved != 0 {
                    return Err(Malformed::new("lease number over the limit, or reserved word not zero"));
                }
                Request::Unpin { session, lease }
            }
            _ => return Err(Malformed::new("request of an unknown kind")),
        };
        reader.end()?;
        Ok(request)
    }
}

fn open(reader: &mut Reader<'_>, session: u32, kept: bool, limits: &Limits) -> Result<Request, Malformed> {
    let (count, process) = (reader.u32()?, reader.u32()?);
    let mut name = [0; 16];
    name.copy_from_slice(reader.raw(16)?);
    let pages = limits.window_bytes / PAGE_BYTES;
    let (window, total) = extents(reader, count, pages)?;
    if total != u64::from(pages) {
        return Err(Malformed::new("window of a wrong size"));
    }
    Ok(Request::Open { session, process, name: printable(&name), window, kept })
}

fn pin(reader: &mut Reader<'_>, session: u32, limits: &Limits) -> Result<Request, Malformed> {
    let (lease, flags, address, bytes) = (reader.u32()?, reader.u32()?, reader.u64()?, reader.u64()?);
    let (count, reserved) = (reader.u32()?, reader.u32()?);
    if lease >= MAX_LEASES || reserved != 0 {
        return Err(Malformed::new("lease number over the limit, or reserved word not zero"));
    }
    if flags == 0 || flags & !(PIN_READ | PIN_WRITE) != 0 {
        return Err(Malformed::new("pin with wrong flags"));
    }
    let page = u64::from(PAGE_BYTES);
    let end = address.checked_add(bytes).and_then(|end| end.checked_next_multiple_of(page));
    let end = end.ok_or(Malformed::new("pin of a range that wraps"))?;
    let wanted = (end - (address & !(page - 1))) / page;
    let (pages, total) = extents(reader, count, limits.max_pin_pages)?;
    if bytes == 0 || total != wanted {
        return Err(Malformed::new("pin whose pages do not cover exactly its bytes"));
    }
    Ok(Request::Pin { session, lease, flags, address, bytes, pages })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { max_sessions: 4, window_bytes: 8 * 4096, max_pin_pages: 16 };

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn extent(address: u64, pages: u32) -> [u32; 4] {
        [address as u32, (address >> 32) as u32, pages, 0]
    }

    fn open_of(extents: &[[u32; 4]]) -> Vec<u8> {
        let mut bytes = words(&[REQUEST_OPEN, 3, extents.len() as u32, 77]);
        bytes.extend(*b"a\nprogram\0\0\0\0\0\0\0");
        bytes.extend(extents.iter().flat_map(|extent| words(extent)));
        bytes
    }

    fn pin_of(lease: u32, flags: u32, address: u64, bytes: u64, extents: &[[u32; 4]]) -> Vec<u8> {
        let mut out = words(&[REQUEST_PIN, 0, lease, flags]);
        out.extend(address.to_le_bytes());
        out.extend(bytes.to_le_bytes());
        out.extend(words(&[extents.len() as u32, 0]));
        out.extend(extents.iter().flat_map(|extent| words(extent)));
        out
    }

    #[test]
    fn open_when_its_pages_are_the_window_then_is_read_and_its_name_cleaned() {
        let bytes = open_of(&[extent(0x1_0000_0000, 7), extent(0x5000, 1)]);
        let Ok(Request::Open { session, process, name, window, .. }) = Request::decode(&bytes, &LIMITS) else {
            panic!("refused")
        };
        assert_eq!((session, process, name.as_str(), window.len()), (3, 77, "a?program", 2));
        assert_eq!(window[0].address, 0x1_0000_0000);
    }

    #[test]
    fn open_when_anything_is_off_then_is_malformed() {
        let good = open_of(&[extent(0, 8)]);
        assert!(Request::decode(&good, &LIMITS).is_ok());
        let mut bad = vec![
            open_of(&[]),
            open_of(&[extent(0, 7)]),
            open_of(&[extent(0, 9)]),
            open_of(&[extent(0, 8), extent(0x10000, 1)]),
            open_of(&[extent(1, 8)]),
            open_of(&[extent(0, 8), extent(0x10000, 0)]),
            open_of(&[extent(!0xfff, 8)]),
            open_of(&[extent(0, u32::MAX)]),
            open_of(&[[0, 0, 8, 1]]),
            open_of(&vec![extent(0, 1); 100]),
        ];
        let mut far = good.clone();
        far[4] = 4;
        bad.push(far);
        let mut long = good.clone();
        long.push(0);
        bad.push(long);
        let mut lying = good.clone();
        lying[8] = 0xff;
        bad.push(lying);
        bad.extend((0..good.len()).map(|length| good[..length].to_vec()));
        for bytes in bad {
            assert!(Request::decode(&bytes, &LIMITS).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn pin_when_its_pages_cover_its_bytes_then_is_read() {
        let bytes = pin_of(5, 3, 0x7000_0000_0ff0, 0x20, &[extent(0x9000, 1), extent(0x3000, 1)]);
        assert!(matches!(Request::decode(&bytes, &LIMITS), Ok(Request::Pin { lease: 5, bytes: 0x20, .. })));
    }

    #[test]
    fn pin_when_anything_is_off_then_is_malformed() {
        let page = [extent(0x9000, 1)];
        let bad = [
            pin_of(MAX_LEASES, 3, 0, 1, &page),
            pin_of(0, 0, 0, 1, &page),
            pin_of(0, 4, 0, 1, &page),
            pin_of(0, 1, 0, 0, &page),
            pin_of(0, 1, 0xfff, 2, &page),
            pin_of(0, 1, 0, 4097, &page),
            pin_of(0, 1, 0, 1, &[]),
            pin_of(0, 1, u64::MAX, 2, &page),
            pin_of(0, 1, u64::MAX - 1, 1, &page),
            pin_of(0, 1, 0, 17 * 4096, &[extent(0, 17)]),
        ];
        for bytes in bad {
            assert!(Request::decode(&bytes, &LIMITS).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn unpin_and_close_when_cut_prolonged_or_unknown_then_are_malformed() {
        assert_eq!(Request::decode(&words(&[REQUEST_CLOSE, 1]), &LIMITS), Ok(Request::Close { session: 1 }));
        let unpin = Request::decode(&words(&[REQUEST_UNPIN, 1, 9, 0]), &LIMITS);
        assert_eq!(unpin, Ok(Request::Unpin { session: 1, lease: 9 }));
        let bad: [&[u32]; 6] = [
            &[REQUEST_CLOSE, 1, 0],
            &[REQUEST_CLOSE],
            &[REQUEST_UNPIN, 1, 9],
            &[REQUEST_UNPIN, 1, 9, 1],
            &[0, 1],
            &[5, 1],
        ];
        for request in bad {
            assert!(Request::decode(&words(request), &LIMITS).is_err(), "{request:?}");
        }
    }
}
