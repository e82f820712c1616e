//! Messages of the control sockets: any bytes are read or refused; what is read is written as the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::control::{HEAD_BYTES, Head, Message};

fuzz_target!(|data: &[u8]| {
    let Some((raw, rest)) = data.split_first_chunk::<HEAD_BYTES>() else { return };
    let Ok(head) = Head::from_bytes(raw) else { return };
    let Some(body) = rest.get(..head.body as usize) else { return };
    let Ok(message) = Message::from_bytes(&head, body) else { return };
    assert!(message.descriptors() <= 4);
    let again = message.to_bytes(head.cookie).expect("what was read fits");
    let (raw, rest) = again.split_first_chunk::<HEAD_BYTES>().expect("a head");
    let head = Head::from_bytes(raw).expect("a head of ours");
    assert_eq!(Message::from_bytes(&head, rest).expect("a message of ours"), message);
});
