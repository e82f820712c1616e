//! Every message of `spec/api/nvml.rs` with wild handles ([`crate::worker::values`]).

use std::ptr::NonNull;

use super::generated::Library;
use super::{Host, Nvml};
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
