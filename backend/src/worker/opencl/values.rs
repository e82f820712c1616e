//! Every message of `spec/api/opencl.rs` with wild handles and lying lengths ([`crate::worker::values`]).

use std::ffi::CStr;
use std::ptr::NonNull;

use super::OpenCl;
use super::generated::{INFO_PLATFORM, Library};
use super::load::Found;
use crate::worker::objects::Objects;
use crate::worker::values::{self, Tried};

impl Tried for OpenCl {
    fn objects(&self) -> &Objects {
        &self.objects
    }
}

/// A call that sleeps holds what it was given, also where it is refused for something else: that touches no object.
extern "C" fn count_references() -> i32 {
    0
}

fn recorded() -> OpenCl {
    let find = |name: &CStr| {
        let name = name.to_bytes();
        let counts = name.starts_with(b"clRetain") || name.starts_with(b"clRelease");
        NonNull::new(if counts { count_references as *mut _ } else { values::record as *mut _ })
    };
    // SAFETY: they take fewer arguments than they are given, and return a status or null; they touch no memory.
    let library = unsafe { Library::find(find) };
    OpenCl::new(library, Found { platform: 0x1000, devices: vec![0x2000] }, values::session())
}

#[test]
fn messages_when_a_handle_is_wild_then_get_its_kinds_error_and_never_reach_the_library() {
    let _turn = values::turn();
    let spec = values::spec("opencl");
    // Which properties need a second object, the API says; and what is asked about, the first: all of these, one after the other.
    // What links makes a program of the number, so one that was freed is as good as any.
    let exempt = [("gpuferryInfo", "second"), ("gpuferryLink", "program")];
    let about: Vec<u32> =
        spec.constants.iter().filter(|c| c.name.starts_with("INFO_")).filter_map(|c| c.value.parse().ok()).collect();
    assert!(about.len() > 5);
    let (mut arguments, mut messages) = (0, 0);
    for what in about.into_iter().filter(|what| *what != INFO_PLATFORM) {
        (arguments, messages) = values::handles(&spec, recorded, &exempt, &[("gpuferryInfo", "what", what)]);
    }
    println!("opencl: {arguments} arguments that are handles, {messages} messages with wild ones");
    assert!(arguments > 50 && messages >= arguments * 7, "{arguments} {messages}");
}

#[test]
fn messages_when_a_length_lies_then_are_refused_and_never_reach_the_library() {
    let _turn = values::turn();
    let (arguments, messages, reached) = values::buffers(&values::spec("opencl"), recorded);
    println!("opencl: {arguments} arguments that are buffers, {messages} messages, of which the library got {reached}");
    assert!(arguments > 5 && messages > arguments * 21, "{arguments} {messages} {reached}");
}

#[test]
fn replies_when_their_memory_was_used_before_then_carry_no_byte_of_it() {
    let _turn = values::turn();
    let (answered, bytes) = values::replies(&values::spec("opencl"), recorded, &["gpuferryNextCallback"]);
    println!("opencl: {answered} messages were carried out, {bytes} bytes came back");
    assert!(answered > 200 && bytes > 1000, "{answered} {bytes}");
}
