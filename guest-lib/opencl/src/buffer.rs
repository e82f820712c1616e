//! Buffers and their parts.

use crate::arena;
use crate::caller::{self, Caller};
use crate::cl_int;
use crate::context::Context;
use crate::generated::send;
use crate::memory::{
    self, COPY_HOST_PTR, DEVICE_ACCESS, HOST_ACCESS, HOST_NO_ACCESS, HOST_PTR, HOST_READ_ONLY, HOST_WRITE_ONLY, Mem,
    READ_ONLY, READ_WRITE, Sort, USE_HOST_PTR, WRITE_ONLY,
};
use crate::properties;
use crate::status::{
    CL_INVALID_BUFFER_SIZE, CL_INVALID_HOST_PTR, CL_INVALID_MEM_OBJECT, CL_INVALID_PROPERTY, CL_INVALID_VALUE,
};
use crate::svm;
use crate::user::{self, In, Raw};
use core::ffi::c_void;

const CL_DEVICE_MAX_MEM_ALLOC_SIZE: u32 = 0x1010;
const CREATE_TYPE_REGION: u32 = 0x1220;

/// The contents that an object begins with: what the program's pointer and flags say together.
///
/// # Errors
/// `CL_INVALID_HOST_PTR` where they contradict.
pub fn begins_with_data(flags: u64, host_ptr: *const c_void) -> Result<bool, cl_int> {
    let is_asked_for = flags & (USE_HOST_PTR | COPY_HOST_PTR) != 0;
    if is_asked_for == host_ptr.is_null() { Err(CL_INVALID_HOST_PTR) } else { Ok(is_asked_for) }
}

/// Sends contents where there are some.
pub fn with_data(
    caller: &Caller,
    data: Option<&[u8]>,
    each: impl FnOnce(rt::Buffer<'_>) -> cl_int,
) -> Result<(), cl_int> {
    caller::answer(match data {
        None => each(rt::Buffer::Null),
        Some(data) => caller::input(caller, data, each),
    })
}

fn create(
    context: Raw,
    list: Option<Vec<[u64; 2]>>,
    flags: u64,
    size: usize,
    host_ptr: *mut c_void,
) -> Result<Raw, cl_int> {
    let context = arena::get::<Context>(context)?;
    // No property is known.
    properties::check(list.as_deref().unwrap_or_default(), &[], CL_INVALID_PROPERTY)?;
    memory::check_flags(flags)?;
    let flags = memory::with_defaults(flags);
    let caller = caller::enter()?;
    let has_data = begins_with_data(flags, host_ptr)?;
    // Some hosts give more than they say, where they need not fill it at once.
    if size == 0 || has_data && size as u64 > context.most(&caller, CL_DEVICE_MAX_MEM_ALLOC_SIZE)? {
        return Err(CL_INVALID_BUFFER_SIZE);
    }
    // SAFETY: not null, so as large as the buffer by the promise of the function's caller.
    let data = has_data.then(|| unsafe { user::bytes(host_ptr, size) });
    let vacant = arena::vacant::<Mem>()?;
    let in_svm = flags & USE_HOST_PTR != 0 && svm::contains(context.handle, host_ptr as usize, 1);
    if in_svm && !svm::contains(context.handle, host_ptr as usize, size) {
        return Err(CL_INVALID_BUFFER_SIZE);
    }
    if in_svm {
        let address = host_ptr as u64;
        caller::answer(send::gpuferrySvmBuffer(&caller, vacant.handle, context.handle, flags, size, address))?;
    } else {
        let send =
            |data: rt::Buffer<'_>| send::gpuferryBuffer(&caller, vacant.handle, context.handle, flags, size, data);
        with_data(&caller, data, send)?;
    }
    let own = if flags & USE_HOST_PTR != 0 { host_ptr as usize } else { 0 };
    let mut made = Mem::new(context, flags, size, own, Sort::Buffer);
    made.properties = properties::as_given(list.as_deref());
    made.in_svm = in_svm;
    Ok(vacant.fill(made).raw())
}

/// The flags of a part of a buffer: its own, and where they say nothing the whole's.
fn part_flags(flags: u64, whole: u64) -> Result<u64, cl_int> {
    let widens = |own: u64, allowed: u64| flags & own != 0 && whole & allowed == 0;
    let at_most_one = |of: u64| (flags & of).count_ones() <= 1;
    let refused = flags & !(DEVICE_ACCESS | HOST_ACCESS) != 0
        || !at_most_one(DEVICE_ACCESS)
        || !at_most_one(HOST_ACCESS)
        || widens(READ_WRITE, READ_WRITE)
        || widens(READ_ONLY, READ_ONLY | READ_WRITE)
        || widens(WRITE_ONLY, WRITE_ONLY | READ_WRITE)
        || (flags & HOST_READ_ONLY != 0 && whole & (HOST_WRITE_ONLY | HOST_NO_ACCESS) != 0)
        || (flags & HOST_WRITE_ONLY != 0 && whole & (HOST_READ_ONLY | HOST_NO_ACCESS) != 0);
    if refused {
        return Err(CL_INVALID_VALUE);
    }
    let or_whole = |of: u64| if flags & of == 0 { whole & of } else { flags & of };
    Ok(or_whole(DEVICE_ACCESS) | or_whole(HOST_ACCESS) | (whole & HOST_PTR))
}

fn create_part(buffer: Raw, flags: u64, create_type: u32, region: In<[usize; 2]>) -> Result<Raw, cl_int> {
    let whole = memory::buffer(buffer)?;
    if matches!(whole.sort, Sort::SubBuffer(..)) {
        return Err(CL_INVALID_MEM_OBJECT);
    }
    let own = part_flags(flags, whole.flags)?;
    if create_type != CREATE_TYPE_REGION {
        return Err(CL_INVALID_VALUE);
    }
    let [origin, size] = region.get()?;
    if size == 0 {
        return Err(CL_INVALID_BUFFER_SIZE);
    }
    if origin.checked_add(size).is_none_or(|end| end > whole.size) {
        return Err(CL_INVALID_VALUE);
    }
    let caller = caller::enter()?;
    let vacant = arena::vacant::<Mem>()?;
    let sent = send::gpuferrySubBuffer(&caller, vacant.handle, whole.handle, own & DEVICE_ACCESS, origin, size);
    caller::answer(sent)?;
    let host_ptr = if whole.host_ptr == 0 { 0 } else { whole.host_ptr + origin };
    let context = whole.context.clone();
    Ok(vacant.fill(Mem::new(context, own, size, host_ptr, Sort::SubBuffer(whole, origin))).raw())
}

crate::makers! {
    /// OpenCL 3.0 § 5.2.1, clCreateBuffer.
    extern "C" fn clCreateBuffer(context: Raw, flags: u64, size: usize, host_ptr: *mut c_void) {
        create(context, None, flags, size, host_ptr)
    }

    /// OpenCL 3.0 § 5.2.1, clCreateBufferWithProperties.
    extern "C" fn clCreateBufferWithProperties(
        context: Raw, properties: In<u64>, flags: u64, size: usize, host_ptr: *mut c_void,
    ) {
        create(context, properties.pairs()?, flags, size, host_ptr)
    }

    /// OpenCL 3.0 § 5.2.1, clCreateSubBuffer.
    extern "C" fn clCreateSubBuffer(
        buffer: Raw, flags: u64, buffer_create_type: u32, buffer_create_info: In<[usize; 2]>,
    ) {
        create_part(buffer, flags, buffer_create_type, buffer_create_info)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_flags_when_nothing_is_said_then_are_the_wholes_and_never_more() {
        assert_eq!(
            part_flags(0, READ_ONLY | USE_HOST_PTR | HOST_READ_ONLY),
            Ok(READ_ONLY | USE_HOST_PTR | HOST_READ_ONLY)
        );
        assert_eq!(part_flags(WRITE_ONLY, READ_WRITE), Ok(WRITE_ONLY));
        assert_eq!(part_flags(HOST_NO_ACCESS, READ_WRITE | HOST_READ_ONLY), Ok(READ_WRITE | HOST_NO_ACCESS));
        for (flags, whole) in [
            (READ_WRITE, READ_ONLY),
            (READ_ONLY, WRITE_ONLY),
            (USE_HOST_PTR, READ_WRITE),
            (HOST_READ_ONLY, READ_WRITE | HOST_NO_ACCESS),
        ] {
            assert_eq!(part_flags(flags, whole), Err(CL_INVALID_VALUE), "{flags:#x} of {whole:#x}");
        }
    }
}
