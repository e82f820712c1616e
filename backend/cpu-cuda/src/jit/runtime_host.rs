//! Functions of the device's library that the host provides: `malloc`, `free`, `printf`, `assert`.

use crate::jit::context::{Context, fault};
use crate::jit::runtime::{host, locate, set_fault};

/// Device-side `malloc`.
pub unsafe extern "C" fn malloc(context: *mut Context, params: *const u64, results: *mut u64, _line: u32) -> u32 {
    // SAFETY: as in `resolve`; both blocks are on the caller's stack, with room for the engine functions' parameters.
    unsafe {
        let bytes = params.read();
        results.write(host(&*context).memory.malloc(bytes));
    }
    0
}

/// Device-side `free`.
pub unsafe extern "C" fn free(context: *mut Context, params: *const u64, _results: *mut u64, line: u32) -> u32 {
    // SAFETY: as in `malloc`.
    let (context, address) = unsafe { (&mut *context, params.read()) };
    if host(context).memory.free(address) { 0 } else { set_fault(context, fault::TRAP, line, address) }
}

/// Longest string `printf` and `assert` read.
const MAX_TEXT: usize = 16 << 10;

fn text_at(context: &Context, address: u64) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    while text.len() < MAX_TEXT {
        let pointer = locate(context, address.wrapping_add(text.len() as u64), 1, false)?;
        // SAFETY: `locate` allowed this byte.
        let byte = unsafe { (pointer as *const u8).read() };
        if byte == 0 {
            break;
        }
        text.push(byte);
    }
    Some(text)
}

/// Device-side `printf`: the format and the packed arguments.
pub unsafe extern "C" fn vprintf(context: *mut Context, params: *const u64, results: *mut u64, line: u32) -> u32 {
    // SAFETY: as in `malloc`.
    let (context, format, list) = unsafe { (&mut *context, params.read(), params.add(1).read()) };
    let Some(format) = text_at(context, format) else {
        return set_fault(context, fault::ILLEGAL_ADDRESS, line, format);
    };
    let mut at = list;
    let mut take = |size: u64| {
        at = at.next_multiple_of(size);
        let pointer = locate(context, at, size, false)?;
        at += size;
        // SAFETY: `locate` allowed these bytes; they may be written by nobody else, being the thread's own.
        Some(unsafe {
            if size == 8 {
                (pointer as *const u64).read_unaligned()
            } else {
                u64::from((pointer as *const u32).read_unaligned())
            }
        })
    };
    match crate::exec::print::format(&format, &mut take, &mut |address| text_at(context, address)) {
        Some((text, count)) => {
            host(context).memory.print(&text);
            // SAFETY: as in `malloc`.
            unsafe { results.write(count as u64) };
            0
        }
        None => set_fault(context, fault::ILLEGAL_ADDRESS, line, list),
    }
}

/// Device-side `assert`: message, file, line, function, bytes of a character.
pub unsafe extern "C" fn assert_fail(context: *mut Context, params: *const u64, _results: *mut u64, line: u32) -> u32 {
    // SAFETY: as in `malloc`.
    let (context, args) = unsafe { (&mut *context, [0, 1, 2, 3].map(|n| params.add(n).read())) };
    let text = |address| String::from_utf8_lossy(&text_at(context, address).unwrap_or_default()).into_owned();
    let message = format!(
        "{}:{}: {}: block: [{},{},{}], thread: [{},{},{}] Assertion `{}` failed.\n",
        text(args[1]),
        args[2] as u32,
        text(args[3]),
        context.ctaid[0],
        context.ctaid[1],
        context.ctaid[2],
        context.tid[0],
        context.tid[1],
        context.tid[2],
        text(args[0]),
    );
    host(context).memory.complain(message.as_bytes());
    set_fault(context, fault::ASSERT, line, 0)
}
