//! The examples of `spec/wire.md` are what this crate writes, and the offsets in its tables are where the fields lie.
#![cfg(not(loom))]

use std::mem::offset_of;

use wire::frame::FrameHeader;
use wire::handle::Handle;
use wire::payload::{Buffer, Writer};
use wire::slot::{MAX_REPLY_BYTES, SlotHead};
use wire::window::{Header, RING_BYTES, RING_OFFSET, SLOTS_OFFSET, STAGING_OFFSET};

const PAGE: &str = include_str!("../../wire.md");

/// The bytes of the example `name`: those on its line in backquotes, or in the indented lines below.
fn example(name: &str) -> Vec<u8> {
    let (_, after) = PAGE.split_once(&format!("Example `{name}`:")).expect("the page has the example");
    let line = after.lines().next().expect("a line");
    let text = match line.rsplit('`').nth(1) {
        Some(inline) if inline.split(' ').all(|byte| byte.len() == 2) => inline.to_owned(),
        _ => after.lines().skip(2).take_while(|line| line.starts_with("    ")).collect::<Vec<_>>().join(" "),
    };
    text.split_ascii_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("hex")).collect()
}

#[test]
fn frame_when_written_then_is_the_page_s_example() {
    let header = FrameHeader {
        bytes: 100,
        call: 7,
        slot: 3,
        sequence: 5,
        thread: 1,
        context: 2,
        context_generation: 9,
        capture_mode: 0,
        reserved: 0,
    };
    assert_eq!(header.to_bytes().to_vec(), example("frame"));
}

#[test]
fn payload_when_written_then_is_the_page_s_example() {
    let mut memory = [0xEE; 64];
    let mut writer = Writer::new(&mut memory);
    writer.u8(1).expect("room");
    writer.u64(2).expect("room");
    writer.run(b"ab").expect("room");
    writer.buffer(Buffer::Lease { lease: 5, offset: 6, bytes: 7 }).expect("room");
    let bytes = writer.len();
    assert_eq!(memory[..bytes].to_vec(), example("payload"));
}

#[test]
fn handle_when_written_then_is_the_page_s_example() {
    assert_eq!(Handle::new(6, 9, 77).0.to_le_bytes().to_vec(), example("handle"));
}

#[test]
fn offsets_when_the_page_names_them_then_are_where_the_fields_lie() {
    assert_eq!((offset_of!(Header, tail), offset_of!(Header, head), offset_of!(Header, host_parked)), (64, 128, 192));
    assert_eq!((offset_of!(Header, sticky), offset_of!(Header, guest_parked)), (256, 320));
    assert_eq!(offset_of!(Header, counters), 512);
    assert_eq!((SLOTS_OFFSET, RING_OFFSET, RING_BYTES, STAGING_OFFSET), (4096, 266_240, 1_048_576, 1_314_816));
    assert_eq!((offset_of!(SlotHead, ready), offset_of!(SlotHead, parked)), (0, 4));
    assert_eq!((offset_of!(SlotHead, status), offset_of!(SlotHead, bytes), MAX_REPLY_BYTES), (8, 12, 4032));
}
