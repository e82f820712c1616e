//! The edge to C: what every exported function goes through.
//!
//! `cuda!` makes the exports. A body is ordinary Rust that gives an [`Answer`]; the edge turns it into a `CUresult`,
//! keeps panics inside, asks for cuInit first, and, for the `_ptsz` and `_ptds` names, makes the null stream mean the
//! calling thread's own default stream. Names that no body stands behind are printed by `build.rs` and come to
//! [`unsupported`].

use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use crate::driver;
use crate::status::{Answer, Status};
use crate::work::lock;

/// Exports functions. `fn name | name_ptsz (..)` also exports the form for the per-thread default stream;
/// `early fn` works before cuInit. `build.rs` reads these lines: keep `fn NAME | NAME` on one line.
macro_rules! cuda {
    () => {};
    (early fn $name:ident ($($arg:ident: $type:ty),* $(,)?) $body:block $($rest:tt)*) => {
        $crate::export::cuda!(@one early_call, $name, ($($arg: $type),*), $body);
        $crate::export::cuda!($($rest)*);
    };
    (fn $name:ident ($($arg:ident: $type:ty),* $(,)?) $body:block $($rest:tt)*) => {
        $crate::export::cuda!(@one call, $name, ($($arg: $type),*), $body);
        $crate::export::cuda!($($rest)*);
    };
    (fn $name:ident | $own:ident ($($arg:ident: $type:ty),* $(,)?) $body:block $($rest:tt)*) => {
        $crate::export::cuda!(@one call, $name, ($($arg: $type),*), $body);
        #[doc = concat!("`", stringify!($name), "` for the per-thread default stream.\n\n# Safety\n\nAs its plain form.")]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $own($($arg: $type),*) -> u32 {
            // SAFETY: the caller vouches for the same things.
            $crate::export::with_own_stream(|| unsafe { $name($($arg),*) })
        }
        $crate::export::cuda!($($rest)*);
    };
    (@one $call:ident, $name:ident, ($($arg:ident: $type:ty),*), $body:block) => {
        #[doc = concat!("CUDA Driver API, `", stringify!($name), "`.\n\n# Safety\n\nPointer arguments are as that page asks.")]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($arg: $type),*) -> u32 {
            $crate::export::$call(stringify!($name), move || -> $crate::status::Answer { $body })
        }
    };
}
pub(crate) use cuda;

thread_local! {
    static OWN_STREAM: Cell<bool> = const { Cell::new(false) };
}

/// Runs a body, after cuInit only.
pub fn call(name: &'static str, body: impl FnOnce() -> Answer) -> u32 {
    early_call(name, || {
        driver::initialised()?;
        body()
    })
}

/// Runs a body.
pub fn early_call(name: &'static str, body: impl FnOnce() -> Answer) -> u32 {
    // AssertUnwindSafe: state behind locks stays meaningful, see `work::lock`.
    let answer = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
        log::error!("{name}: panicked; the call answers CUDA_ERROR_UNKNOWN");
        Err(Status::UNKNOWN)
    });
    let number = answer.err().map_or(0, |status| status.0);
    log::trace!("{name} -> {number}");
    number
}

/// Runs a call in which the null stream is the thread's own default stream.
pub fn with_own_stream(call: impl FnOnce() -> u32) -> u32 {
    let before = OWN_STREAM.replace(true);
    let number = call();
    OWN_STREAM.set(before);
    number
}

/// Whether the null stream means the thread's own default stream in this call.
pub fn null_stream_is_own() -> bool {
    OWN_STREAM.get()
}

/// The answer of every function that is not supported; its name is logged the first time.
pub fn unsupported(name: &'static str) -> u32 {
    static SEEN: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    if lock(&SEEN).insert(name) {
        log::warn!("{name} is not supported by the CPU device");
    }
    Status::NOT_SUPPORTED.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_when_body_panics_then_unknown() {
        assert_eq!(early_call("test", || panic!("on purpose")), Status::UNKNOWN.0);
    }

    #[test]
    fn own_stream_when_call_ends_then_restored() {
        assert_eq!(with_own_stream(|| u32::from(null_stream_is_own())), 1);
        assert!(!null_stream_is_own());
    }
}
