//! Every message of `spec/api/nvml.rs` with wild handles ([`crate::worker::values`]).

use std::ptr::NonNull;

use wire::frame::FrameHeader;
use wire::handle::Handle;
use wire::slot::MAX_REPLY_BYTES;

use super::generated::{self, Library};
use super::{Api, Host, Nvml, cpu};
use crate::worker::Reply;
use crate::worker::objects::Objects;
use crate::worker::values::{self, Tried};

impl Tried for Nvml {
    /// Devices do not come and go: those of the tests, put into a table that nobody asks, are as wild as the others.
    fn objects(&self) -> &Objects {
        Box::leak(Box::new(Objects::new(u8::MAX, &[])))
    }
}

#[test]
fn messages_when_a_handle_is_wild_then_get_its_kinds_error_and_never_reach_the_library() {
    let _turn = values::turn();
    let recorded = || {
        // SAFETY: it takes fewer arguments than it is given, and returns a status; it touches no memory.
        let library = unsafe { Library::find(|_| NonNull::new(values::record as *mut _)) };
        Nvml::new(Some(Host { library, devices: vec![0x2000] }), values::session())
    };
    let (arguments, messages) = values::handles(&values::spec("nvml"), recorded, &[], &[]);
    println!("nvml: {arguments} arguments that are handles, {messages} messages with wild ones");
    assert!(arguments > 30 && messages >= arguments * 7, "{arguments} {messages}");
}

#[test]
fn messages_when_of_the_cpu_device_then_are_answered_or_malformed_and_some_say_what_it_is() {
    let _turn = values::turn();
    cpu::describe(vec![cpu::Facts::of_a_test()]);
    // SAFETY: the functions have the prototypes of the API.
    let library = unsafe { Library::find(cpu::function) };
    let nvml = Nvml::new(Some(Host { library, devices: vec![cpu::device(0)] }), values::session());
    let device = Handle::new(128, 1, 0).0.to_le_bytes();
    let mut answers = 0;
    for call in (0x6000..0x7000).filter(|call| generated::name(*call).is_some_and(|name| !name.contains("Wait"))) {
        // A device, and zeros for what else there is: lengths of nothing, or too many of them.
        for zeros in 0..32 {
            let payload = [&device[..], &vec![0; zeros * 4]].concat();
            let mut memory = [0; MAX_REPLY_BYTES];
            let mut reply = Reply::new(&mut memory);
            let from = FrameHeader { call, ..FrameHeader::default() };
            let is_sound = nvml.call(&from, &payload, &mut reply).is_ok();
            answers += usize::from(is_sound && reply.finish() != (0, 0));
        }
    }
    assert!(answers > 40, "{answers}");
}
