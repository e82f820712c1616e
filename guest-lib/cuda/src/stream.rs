//! Streams: which one a program's number means. The null stream (0) and the legacy stream (1) travel as they are; the per-thread
//! stream (2) is a real stream that each thread gets in each context at its first use.

use crate::CUresult;
use crate::caller::{self, Caller};
use crate::context;
use crate::generated::{kind, send};
use crate::handles::{self, Handle};
use crate::program::Out;
use crate::status::CUDA_ERROR_INVALID_HANDLE;
use core::cell::RefCell;

/// `CU_STREAM_LEGACY`.
pub const LEGACY: u64 = 1;
/// `CU_STREAM_PER_THREAD`.
pub const PER_THREAD: u64 = 2;

/// A thread's own streams, with the contexts they are of.
struct Own(RefCell<Vec<(Handle, Handle)>>);

thread_local! {
    static OWN: Own = const { Own(RefCell::new(Vec::new())) };
}

impl Drop for Own {
    /// The thread ends, and its streams with it.
    fn drop(&mut self) {
        let Ok(session) = caller::session() else { return };
        for (_, stream) in self.0.take().into_iter().filter(|(_, stream)| handles::is_live(*stream)) {
            handles::discard(stream);
            // Nobody is left to be told.
            let _ = send::cuStreamDestroy_v2(&Caller { session, origin: caller::origin() }, stream);
        }
    }
}

fn own() -> Result<Handle, CUresult> {
    let caller = caller::enter_context()?;
    let context = context::current();
    let find = |own: &Own| {
        own.0.borrow_mut().retain(|(_, stream)| handles::is_live(*stream));
        own.0.borrow().iter().find(|(of, _)| *of == context).map(|(_, stream)| *stream)
    };
    // A thread that is ending has no place to keep a stream: it shares the legacy one.
    let Ok(found) = OWN.try_with(find) else { return Ok(Handle(LEGACY)) };
    if let Some(stream) = found {
        return Ok(stream);
    }
    let stream = handles::made(kind::CUstream, |stream| send::cuStreamCreate(&caller, stream, 0))?;
    // It was there just now.
    let _ = OWN.try_with(|own| own.0.borrow_mut().push((context, stream)));
    Ok(stream)
}

/// The stream that the program's number is.
///
/// # Errors
/// `CUDA_ERROR_INVALID_HANDLE`, and as for making the per-thread stream.
#[inline]
pub fn resolve(raw: u64) -> Result<Handle, CUresult> {
    match raw {
        0 | LEGACY => Ok(Handle(raw)),
        PER_THREAD => own(),
        _ => handles::of_kind(kind::CUstream, raw),
    }
}

/// The same, where the null stream is the calling thread's own.
///
/// # Errors
/// As [`resolve`].
#[inline]
pub fn resolve_per_thread(raw: u64) -> Result<Handle, CUresult> {
    if raw == 0 { own() } else { resolve(raw) }
}

/// The number of a stream in the process, as cuStreamGetId gives it.
///
/// # Errors
/// As [`resolve`], and the host's answer.
pub fn id(raw: u64) -> Result<u64, CUresult> {
    let caller = caller::enter()?;
    let mut id = 0;
    caller::answer(send::cuStreamGetId(&caller, resolve(raw)?, &mut id))?;
    Ok(id)
}

/// The context of a stream: of the special ones, the current one.
fn context_of(stream: Handle) -> Result<Handle, CUresult> {
    if stream.0 <= LEGACY { Ok(context::current_context()?.handle) } else { Ok(handles::owner(stream)) }
}

/// The device of a stream: of the special ones, the current one.
///
/// # Errors
/// `CUDA_ERROR_INVALID_CONTEXT`.
pub fn device_of(stream: Handle) -> Result<i32, CUresult> {
    Ok(context::resolve(context_of(stream)?.0)?.device)
}

fn context_out(stream: Result<Handle, CUresult>, context: Out<u64>, green: Out<u64>) -> Result<(), CUresult> {
    caller::enter_context()?;
    context.check()?;
    let of = context_of(stream?)?;
    let own = context::resolve(of.0)?;
    green.set_if_wanted(own.green().0);
    // Who asks for the green context gets the primary one beside it (H200).
    let shown = if green.0.is_null() || own.green().is_null() { of } else { crate::primary::handle(own.device)? };
    context.set(shown.0)
}

fn device_out(stream: Result<Handle, CUresult>, device: Out<i32>) -> Result<(), CUresult> {
    caller::enter_context()?;
    device.check()?;
    device.set(device_of(stream?)?)
}

const NOT_WANTED: Out<u64> = Out(core::ptr::null_mut());

crate::export! {
    /// CUDA Driver API, cuStreamDestroy: never of a special stream.
    extern "C" fn cuStreamDestroy_v2 | extern "C" fn cuStreamDestroy(hStream: u64) {
        let caller = caller::enter_context()?;
        if hStream <= PER_THREAD {
            return Err(CUDA_ERROR_INVALID_HANDLE);
        }
        let stream = handles::of_kind(kind::CUstream, hStream)?;
        caller::answer(send::cuStreamDestroy_v2(&caller, stream))?;
        handles::free(stream);
        Ok(())
    }

    /// CUDA Driver API, cuStreamGetCtx.
    extern "C" fn cuStreamGetCtx(hStream: u64, pctx: Out<u64>) {
        context_out(resolve(hStream), pctx, NOT_WANTED)
    }

    /// CUDA Driver API, cuStreamGetCtx with the per-thread default stream.
    extern "C" fn cuStreamGetCtx_ptsz(hStream: u64, pctx: Out<u64>) {
        context_out(resolve_per_thread(hStream), pctx, NOT_WANTED)
    }

    /// CUDA Driver API, cuStreamGetCtx as of 12.5: with the green context that it is, if any.
    extern "C" fn cuStreamGetCtx_v2(hStream: u64, pCtx: Out<u64>, pGreenCtx: Out<u64>) {
        context_out(resolve(hStream), pCtx, pGreenCtx)
    }

    /// CUDA Driver API, cuStreamGetCtx as of 12.5, with the per-thread default stream.
    extern "C" fn cuStreamGetCtx_v2_ptsz(hStream: u64, pCtx: Out<u64>, pGreenCtx: Out<u64>) {
        context_out(resolve_per_thread(hStream), pCtx, pGreenCtx)
    }

    /// CUDA Driver API, cuStreamGetDevice.
    extern "C" fn cuStreamGetDevice(hStream: u64, device: Out<i32>) {
        device_out(resolve(hStream), device)
    }

    /// CUDA Driver API, cuStreamGetDevice with the per-thread default stream.
    extern "C" fn cuStreamGetDevice_ptsz(hStream: u64, device: Out<i32>) {
        device_out(resolve_per_thread(hStream), device)
    }
}
