//! cuGetExportTable: the tables of functions behind UUIDs that NVIDIA's own libraries ask for. They are undocumented; what is here
//! was observed from outside and stands on the public functions. A cudart trusts a driver only where the hash of [`integrity`]
//! names these very tables, so each address here is part of the answer.
//!
//! An entry that nobody was seen to call answers `CUDA_ERROR_NOT_SUPPORTED` and is counted. An unknown UUID is
//! `CUDA_ERROR_NOT_FOUND`: software then does without.

use crate::CUresult;
use crate::caller::{self, guard_named};
use crate::function::Function;
use crate::handles;
use crate::integrity;
use crate::program::{In, Out};
use crate::status::CUDA_ERROR_NOT_FOUND;
use crate::stream::{self, LEGACY};
use crate::{compile_cache, context, device};
use core::ffi::{c_char, c_void};

/// One word of a table: its size, a function, or zero.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Word(*const c_void);

// SAFETY: a constant address or number.
unsafe impl Sync for Word {}

extern "C" fn missing() -> CUresult {
    crate::counts::unsupported("an entry of an export table")
}

const MISSING: Word = Word(missing as *const c_void);

/// A table of `N` words whose first is its size in bytes.
const fn sized<const N: usize>(entries: &[(usize, *const c_void)]) -> [Word; N] {
    let mut table = [MISSING; N];
    table[0] = Word(core::ptr::without_provenance(N * 8));
    let mut at = 0;
    while at < entries.len() {
        table[entries[at].0] = Word(entries[at].1);
        at += 1;
    }
    table
}

static CUDART: [Word; 13] = sized(&[
    (1, load_wrapped as *const c_void),
    (2, primary_context as *const c_void),
    (6, load_wrapped_with as *const c_void),
    (7, nothing as *const c_void),
    (8, load_bare_with as *const c_void),
    (12, no_compilers as *const c_void),
]);
static INTEGRITY: [Word; 3] = sized(&[(1, check_integrity as *const c_void)]);
static TOOLS: [Word; 7] = sized(&[(2, tools_first as *const c_void), (6, tools_second as *const c_void)]);
static STORAGE: [Word; 3] =
    [Word(storage_put as *const c_void), Word(storage_delete as *const c_void), Word(storage_get as *const c_void)];
static CURRENT: [Word; 3] = sized(&[(2, current_context as *const c_void)]);
static CHECKS: [Word; 15] = sized(&[(2, context_check as *const c_void), (3, zero as *const c_void)]);
static IDS: [Word; 93] =
    sized(&[(4, context_id as *const c_void), (39, stream_id as *const c_void), (51, stream_object as *const c_void)]);
static MODULES: [Word; 99] = sized(&[(7, module_functions as *const c_void)]);
static COMPILED: [Word; 7] = sized(&[
    (1, compile_cache::make_key as *const c_void),
    (2, compile_cache::end_key as *const c_void),
    (3, compile_cache::look_up as *const c_void),
    (4, compile_cache::store as *const c_void),
    (6, compile_cache::free_found as *const c_void),
]);
static MATMUL: [Word; 17] = sized(&[]);

/// The UUIDs, as the bytes that callers pass.
fn find(uuid: u128) -> Option<*const c_void> {
    let table: &'static [Word] = match uuid {
        0x6bd5_fb6c_5bf4_e74a_8987_d939_12fd_9df9 => &CUDART,
        0xd408_2055_bde6_704b_8d34_ba12_3c66_e1f2 => &INTEGRITY,
        0xa094_798c_2e74_2e74_93f2_0800_200c_0a66 => &TOOLS,
        0xc693_336e_1121_df11_a8c3_68f3_55d8_9593 => &STORAGE,
        0x42d8_5a81_23f6_cb47_8298_f6e7_8a3a_ecdc => &CURRENT,
        0x263e_8860_7cd2_6143_92f6_bbd5_006d_fa7e => &CHECKS,
        0x2131_8c60_9714_3248_8ca6_41ff_7324_c8f2 => &IDS,
        0x6e16_3fbe_b958_444d_835c_e182_aff1_991e => &MODULES,
        0xda91_51d3_3ae6_cc41_a5c0_4f26_d533_e328 => &COMPILED,
        0x1734_dc26_800d_4745_8726_c0f1_e7dd_8bca => &MATMUL,
        _ => return None,
    };
    Some(table.as_ptr().cast())
}

/// 6bd5fb6c `[2]`: the handle of a device's primary context, not made current.
extern "C" fn primary_context(out: Out<u64>, device: i32) -> CUresult {
    guard_named("export table, primary_context", || {
        caller::session()?;
        out.set(crate::primary::handle(device)?.0)
    })
}

/// Loads a fat binary as a module of the current context, in or without nvcc's wrapper. Options were not seen with it.
fn load(out: Out<u64>, image: *const c_void, options: [*const c_void; 2], count: u32) -> CUresult {
    guard_named("export table, load", || {
        if !options[0].is_null() || !options[1].is_null() || count != 0 {
            return Err(crate::counts::unsupported("options of a module of an export table"));
        }
        crate::module::load_wrapped(out, image)
    })
}

/// 6bd5fb6c `[1]`.
extern "C" fn load_wrapped(out: Out<u64>, wrapper: *const c_void) -> CUresult {
    load(out, wrapper, [core::ptr::null(); 2], 0)
}

/// 6bd5fb6c `[6]`: the runtime of 11.8, where modules are loaded at their first use.
extern "C" fn load_wrapped_with(
    out: Out<u64>,
    wrapper: *const c_void,
    options: *const c_void,
    values: *const c_void,
    count: u32,
) -> CUresult {
    load(out, wrapper, [options, values], count)
}

/// 6bd5fb6c `[8]`: the same without the wrapper.
extern "C" fn load_bare_with(
    image: *const c_void,
    out: Out<u64>,
    options: *const c_void,
    values: *const c_void,
    count: u32,
) -> CUresult {
    load(out, image, [options, values], count)
}

/// 6bd5fb6c `[7]`.
extern "C" fn nothing(_word: usize) {}

/// 6bd5fb6c `[12]`: would load compilers ahead of their use.
extern "C" fn no_compilers() -> CUresult {
    0
}

/// d4082055 `[1]`: the hash.
extern "C" fn check_integrity(version: u32, seconds: u64, out: Out<[u64; 2]>) -> CUresult {
    guard_named("export table, check_integrity", || {
        let question = integrity::Question {
            version,
            driver_version: crate::init::driver_version() as u32,
            process: std::process::id(),
            // SAFETY: takes nothing and cannot fail.
            thread: unsafe { libc::pthread_self() } as u32,
            cudart_table: CUDART.as_ptr() as u64,
            integrity_table: INTEGRITY.as_ptr() as u64,
            entry: check_integrity as *const c_void as u64,
            seconds,
        };
        let devices = device::all().iter().map(|device| integrity::Device(device.uuid, device.pci()));
        out.set(integrity::answer(&question, devices))
    })
}

/// Words that a tool would set; no tool is attached.
static TOOLS_FIRST: [core::sync::atomic::AtomicU32; 1024] = [const { core::sync::atomic::AtomicU32::new(0) }; 1024];
static TOOLS_SECOND: [core::sync::atomic::AtomicU32; 14] = [const { core::sync::atomic::AtomicU32::new(0) }; 14];

/// a094798c `[2]`.
extern "C" fn tools_first(buffer: Out<*const c_void>, count: Out<usize>) {
    buffer.set_if_wanted(TOOLS_FIRST.as_ptr().cast());
    count.set_if_wanted(TOOLS_FIRST.len());
}

/// a094798c `[6]`.
extern "C" fn tools_second(buffer: Out<*const c_void>, count: Out<usize>) {
    buffer.set_if_wanted(TOOLS_SECOND.as_ptr().cast());
    count.set_if_wanted(TOOLS_SECOND.len());
}

/// c693336e `[0]`.
extern "C" fn storage_put(
    ctx: u64,
    key: *mut c_void,
    value: *mut c_void,
    destructor: Option<crate::storage::Destructor>,
) -> CUresult {
    guard_named("export table, storage_put", || {
        caller::session()?;
        context::resolve(ctx)?.storage.put(key as usize, value as usize, destructor)
    })
}

/// c693336e `[1]`.
extern "C" fn storage_delete(ctx: u64, key: *mut c_void) -> CUresult {
    guard_named("export table, storage_delete", || {
        caller::session()?;
        context::resolve(ctx)?.storage.delete(key as usize)
    })
}

/// c693336e `[2]`: called more often than anything else.
extern "C" fn storage_get(value: Out<usize>, ctx: u64, key: *mut c_void) -> CUresult {
    guard_named("export table, storage_get", || {
        caller::session()?;
        value.set(context::resolve(ctx)?.storage.get(key as usize)?)
    })
}

/// Is told a function and its name, with what the asker handed in.
type OneFunction = unsafe extern "C" fn(*mut c_void, u64, *const c_char) -> CUresult;

/// 6e163fbe `[7]`: tells of each function of a module; returns their number.
extern "C" fn module_functions(_ctx: u64, module: u64, tell: Option<OneFunction>, opaque: *mut c_void) -> u32 {
    let mut count = 0;
    guard_named("export table, module_functions", || {
        for function in crate::module::functions(module, u32::MAX)? {
            let facts = handles::facts::<Function>(function).ok_or(CUDA_ERROR_NOT_FOUND)?;
            if let Some(tell) = tell {
                // SAFETY: the asker's own function, with its own pointer; the name lives as long as the process.
                unsafe { tell(opaque, function.0, facts.name.as_ptr()) };
            }
            count += 1;
        }
        Ok(())
    });
    count
}

/// 42d85a81 `[2]`.
extern "C" fn current_context(out: Out<u64>) -> CUresult {
    guard_named("export table, current_context", || {
        caller::session()?;
        out.set(context::current().0)
    })
}

/// 263e8860 `[2]`.
extern "C" fn context_check(_ctx: u64, out: Out<u32>, _more: *mut c_void) -> CUresult {
    out.set_if_wanted(0);
    0
}

/// 263e8860 `[3]`.
extern "C" fn zero() -> u32 {
    0
}

/// 21318c60 `[4]`.
extern "C" fn context_id(ctx: u64, out: Out<u64>) -> CUresult {
    guard_named("export table, context_id", || {
        caller::session()?;
        out.set(context::resolve(ctx)?.id)
    })
}

/// 21318c60 `[51]`: an object for a stream, to be given back to `[39]`: the stream itself, with the null stream told apart
/// from null.
extern "C" fn stream_object(_ctx: u64, stream: u64, out: Out<u64>) -> CUresult {
    guard_named("export table, stream_object", || {
        caller::session()?;
        out.set(if stream == 0 { LEGACY } else { stream })
    })
}

/// 21318c60 `[39]`.
extern "C" fn stream_id(_ctx: u64, object: u64, out: Out<u64>) -> CUresult {
    guard_named("export table, stream_id", || out.set(stream::id(object)?))
}

crate::export! {
    /// cuGetExportTable: not part of the documented API.
    extern "C" fn cuGetExportTable(ppExportTable: Out<*const c_void>, pExportTableId: In<[u8; 16]>) {
        ppExportTable.check()?;
        let uuid = pExportTableId.get()?;
        match find(u128::from_be_bytes(uuid)) {
            Some(table) => ppExportTable.set(table),
            None => {
                crate::counts::log(format_args!("export table {:032x} is not known", u128::from_be_bytes(uuid)));
                ppExportTable.set(core::ptr::null())?;
                Err(CUDA_ERROR_NOT_FOUND)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn find_when_the_uuid_is_unknown_then_has_no_table() {
        assert!(find(0x6bd5_fb6c_5bf4_e74a_8987_d939_12fd_9df9).is_some());
        assert!(find(0x0cc9_5b1b_0000_0000_0000_0000_0000_0000).is_none());
    }

    #[test]
    fn sized_tables_when_read_then_begin_with_their_bytes() {
        assert_eq!(CUDART[0].0 as usize, 13 * 8);
        assert_eq!(IDS[0].0 as usize, 93 * 8);
    }
}
