//! cuGetExportTable: the tables that the CUDA runtime and NVIDIA's libraries look up by UUID.
//!
//! They are not documented; what stands here was observed from outside. Entry 0 of most is the table's size in bytes. An
//! entry that has not been seen in use answers CUDA_ERROR_NOT_SUPPORTED and logs its place; a UUID that is not here is
//! CUDA_ERROR_NOT_FOUND.

use std::collections::BTreeSet;
use std::ffi::c_char;
use std::sync::Mutex;

use crate::context::{self, Context, StorageDrop};
use crate::device;
use crate::driver;
use crate::export::early_call;
use crate::foreign::Out;
use crate::handle::Handle;
use crate::integrity::{self, Facts};
use crate::module::{Function, Module};
use crate::status::{Answer, Status};
use crate::stream::{self, Stream};
use crate::work::lock;

/// One word of a table: its size, or a function.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Word(*const ());

// SAFETY: never written.
unsafe impl Sync for Word {}

/// A table of `N` words whose first is its size; `PLACE` names it in the log.
const fn sized<const PLACE: u32, const N: usize>() -> [Word; N] {
    let mut table = [Word(missing::<PLACE> as *const ()); N];
    table[0] = Word(std::ptr::without_provenance(N * 8));
    table
}

const fn with<const N: usize>(mut table: [Word; N], entry: usize, function: *const ()) -> [Word; N] {
    table[entry] = Word(function);
    table
}

extern "C" fn missing<const PLACE: u32>() -> u32 {
    static SEEN: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());
    if lock(&SEEN).insert(PLACE) {
        log::warn!("an entry of export table {PLACE:08x} is not supported by the CPU device");
    }
    Status::NOT_SUPPORTED.0
}

static RUNTIME: [Word; 13] = {
    let table = with(sized::<0x6bd5_fb6c, 13>(), 2, primary_context as *const ());
    let table = with(table, 6, module_of_wrapper as *const ());
    let table = with(table, 8, module_of_fat_binary as *const ());
    with(table, 12, nothing as *const ())
};
static INTEGRITY: [Word; 3] = {
    let table = with(sized::<0xd408_2055, 3>(), 1, integrity_check as *const ());
    with(table, 2, nothing as *const ())
};
static TOOL_HOOKS: [Word; 7] = {
    let table = with(sized::<0xa094_798c, 7>(), 2, tool_hooks as *const ());
    with(table, 6, tool_flags as *const ())
};
static STORAGE: [Word; 4] = [
    Word(storage_put as *const ()),
    Word(storage_delete as *const ()),
    Word(storage_get as *const ()),
    Word(std::ptr::null()),
];
static CURRENT: [Word; 3] = with(sized::<0x42d8_5a81, 3>(), 2, current_context as *const ());
static CONTEXT_CHECK: [Word; 15] = {
    let table = with(sized::<0x263e_8860, 15>(), 2, context_check as *const ());
    with(table, 3, nothing as *const ())
};
static STREAMS: [Word; 93] = {
    let table = with(sized::<0x2131_8c60, 93>(), 4, context_id as *const ());
    let table = with(table, 51, stream_object as *const ());
    with(table, 39, stream_id as *const ())
};
static MODULES: [Word; 99] = with(sized::<0x6e16_3fbe, 99>(), 7, each_function as *const ());
static BLAS: [Word; 17] = with(sized::<0x1734_dc26, 17>(), 13, nothing as *const ());

/// The table of a UUID.
pub fn find(id: [u8; 16]) -> Answer<u64> {
    let table = match u128::from_be_bytes(id) {
        0x6bd5fb6c_5bf4_e74a_8987_d93912fd9df9 => RUNTIME.as_ptr(),
        0xd4082055_bde6_704b_8d34_ba123c66e1f2 => INTEGRITY.as_ptr(),
        0xa094798c_2e74_2e74_93f2_0800200c0a66 => TOOL_HOOKS.as_ptr(),
        0xc693336e_1121_df11_a8c3_68f355d89593 => STORAGE.as_ptr(),
        0x42d85a81_23f6_cb47_8298_f6e78a3aecdc => CURRENT.as_ptr(),
        0x263e8860_7cd2_6143_92f6_bbd5006dfa7e => CONTEXT_CHECK.as_ptr(),
        0x21318c60_9714_3248_8ca6_41ff7324c8f2 => STREAMS.as_ptr(),
        0x6e163fbe_b958_444d_835c_e182aff1991e => MODULES.as_ptr(),
        0x1734dc26_800d_4745_8726_c0f1e7dd8bca => BLAS.as_ptr(),
        other => {
            log::info!("no export table {other:032x}");
            return Err(Status::NOT_FOUND);
        }
    };
    Ok(table as u64)
}

extern "C" fn nothing() -> u32 {
    0
}

extern "C" fn primary_context(out: Out<Handle<Context>>, device: i32) -> u32 {
    early_call("primary context", || out.set(context::primary_handle(device::number(device)?)?))
}

/// The runtime of 11.8 loads modules so. Options were not seen with it.
extern "C" fn module_of_wrapper(out: Out<Handle<Module>>, image: u64, options: u64, values: u64, count: u32) -> u32 {
    early_call("module of a wrapper", || {
        if options != 0 || values != 0 || count != 0 {
            return Err(Status::NOT_SUPPORTED);
        }
        crate::api::modules::load_wrapped(out, image)
    })
}

extern "C" fn module_of_fat_binary(image: u64, out: Out<Handle<Module>>, options: u64, values: u64, count: u32) -> u32 {
    module_of_wrapper(out, image, options, values, count)
}

extern "C" fn integrity_check(version: u32, seconds: u64, out: Out<[u64; 2]>) -> u32 {
    early_call("integrity check", || {
        let facts = || Facts {
            driver: driver::VERSION as u32,
            version,
            process: std::process::id(),
            // SAFETY: a plain query.
            thread: unsafe { libc::pthread_self() } as u32,
            addresses: [RUNTIME.as_ptr() as u64, INTEGRITY.as_ptr() as u64, integrity_check as *const () as u64],
            seconds,
            devices: (0..device::count().into()).map(|number| (device::uuid(number), device::pci(number))).collect(),
        };
        out.set(integrity::answer(version, facts))
    })
}

/// Zeroed words that profilers would fill; the runtime only reads them.
#[repr(transparent)]
struct Zeroes<const N: usize>(std::cell::UnsafeCell<[u64; N]>);

// SAFETY: only handed out by address; programs that write there do so as with the vendor's library.
unsafe impl<const N: usize> Sync for Zeroes<N> {}

static HOOKS: Zeroes<1024> = Zeroes(std::cell::UnsafeCell::new([0; 1024]));
static FLAGS: Zeroes<14> = Zeroes(std::cell::UnsafeCell::new([0; 14]));

extern "C" fn tool_hooks(buffer: Out<u64>, size: Out<u64>) {
    buffer.set_if_wanted(HOOKS.0.get() as u64);
    size.set_if_wanted(1024);
}

extern "C" fn tool_flags(buffer: Out<u64>, size: Out<u64>) {
    buffer.set_if_wanted(FLAGS.0.get() as u64);
    size.set_if_wanted(14);
}

fn context_of(handle: Handle<Context>) -> Answer<std::sync::Arc<Context>> {
    if handle.is_null() { context::top().ok_or(Status::INVALID_CONTEXT) } else { handle.get() }
}

extern "C" fn storage_put(context: Handle<Context>, key: u64, value: u64, drop: Option<StorageDrop>) -> u32 {
    early_call("storage put", || {
        context_of(context)?.store(key, value, drop);
        Ok(())
    })
}

extern "C" fn storage_delete(context: Handle<Context>, key: u64) -> u32 {
    early_call("storage delete", || context_of(context)?.forget(key).or(Err(Status::DEINITIALIZED)))
}

extern "C" fn storage_get(out: Out<u64>, context: Handle<Context>, key: u64) -> u32 {
    early_call("storage get", || out.set(context_of(context)?.stored(key)?))
}

extern "C" fn current_context(out: Out<Handle<Context>>) -> u32 {
    early_call("current context", || out.set(context::top().map_or(Handle::NULL, |context| context.handle)))
}

extern "C" fn context_check(_context: u64, out: Out<u32>, _more: u64) -> u32 {
    out.set_if_wanted(0);
    0
}

extern "C" fn context_id(context: Handle<Context>, id: Out<u64>) -> u32 {
    early_call("context id", || id.set(context_of(context)?.id))
}

extern "C" fn stream_object(_context: Handle<Context>, stream: Handle<Stream>, object: Out<u64>) -> u32 {
    early_call("stream object", || {
        // The object is opaque to its users; it is the stream's handle with the null one made visible.
        stream::resolve(stream)?;
        object.set(if stream.is_null() { stream::LEGACY_HANDLE } else { stream.0 })
    })
}

extern "C" fn stream_id(_context: Handle<Context>, object: Handle<Stream>, id: Out<u64>) -> u32 {
    early_call("stream id", || id.set(stream::resolve(object)?.id))
}

type EachFunction = unsafe extern "C" fn(u64, Handle<Function>, *const c_char);

extern "C" fn each_function(_context: u64, module: Handle<Module>, each: Option<EachFunction>, opaque: u64) -> u32 {
    let mut count = 0;
    early_call("each function", || {
        let module = module.get()?;
        for index in module.entries() {
            let handle = module.function_at(index)?;
            let function = handle.get()?;
            if let Some(each) = each {
                // SAFETY: the caller gave the function for this use; the name lives as long as the module.
                unsafe { each(opaque, handle, function.name.as_ptr()) };
            }
            count += 1;
        }
        Ok(())
    });
    count
}
