//! Every message of `spec/api/cuda.rs` with wild handles and lying lengths ([`crate::worker::values`]).

use std::ptr::NonNull;

use super::Cuda;
use super::generated::Library;
use super::ranges::{Range, Sort};
use crate::worker::objects::Objects;
use crate::worker::values::{self, ADDRESS, ADDRESS_BYTES, Tried};
use wire::handle::Handle;

impl Tried for Cuda {
    fn objects(&self) -> &Objects {
        &self.objects
    }
}

fn recorded() -> Cuda {
    // SAFETY: it takes fewer arguments than it is given, and returns a status; it touches no memory.
    let library = unsafe { Library::find(|_| NonNull::new(values::record as *mut _)) };
    let cuda = Cuda::new(library, values::session());
    cuda.range_made(ADDRESS, Range { bytes: ADDRESS_BYTES, sort: Sort::Allocated, owner: Handle::NULL });
    cuda
}

#[test]
fn messages_when_a_handle_is_wild_then_get_its_kinds_error_and_never_reach_the_library() {
    let _turn = values::turn();
    // Its handle only says whose objects end with the reset; of an unknown one, none.
    let exempt = [("gpuferryPrimaryReset", "ctx")];
    let (arguments, messages) = values::handles(&values::spec("cuda"), recorded, &exempt, &[]);
    println!("cuda: {arguments} arguments that are handles, {messages} messages with wild ones");
    assert!(arguments > 100 && messages >= arguments * 7, "{arguments} {messages}");
}

#[test]
fn messages_when_a_length_lies_then_are_refused_and_never_reach_the_library() {
    let _turn = values::turn();
    let (arguments, messages, reached) = values::buffers(&values::spec("cuda"), recorded);
    println!("cuda: {arguments} arguments that are buffers, {messages} messages, of which the library got {reached}");
    assert!(arguments > 10 && messages > arguments * 21 && reached > arguments, "{arguments} {messages} {reached}");
}

#[test]
fn replies_when_their_memory_was_used_before_then_carry_no_byte_of_it() {
    let _turn = values::turn();
    let (answered, bytes) = values::replies(&values::spec("cuda"), recorded, &["gpuferryNextHostFunction"]);
    println!("cuda: {answered} messages were carried out, {bytes} bytes came back");
    assert!(answered > 200 && bytes > 1000, "{answered} {bytes}");
}
