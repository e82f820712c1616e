//! Requests of the control queue: any bytes are a request within the limits, or refused.
#![no_main]

use gpuferry_backend::front::request::{Limits, Request};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { max_sessions: 64, window_bytes: 8 * 4096, max_pin_pages: 4096 };

fuzz_target!(|data: &[u8]| {
    match Request::decode(data, &LIMITS) {
        Ok(Request::Open { session, name, window, .. }) => {
            assert!(session < LIMITS.max_sessions && name.is_ascii());
            assert_eq!(window.iter().map(|extent| u64::from(extent.pages)).sum::<u64>(), 8);
        }
        Ok(Request::Pin { address, bytes, pages, .. }) => {
            let end = address.checked_add(bytes).expect("a range that does not wrap");
            let touched = end.next_multiple_of(4096) / 4096 - address / 4096;
            assert_eq!(pages.iter().map(|extent| u64::from(extent.pages)).sum::<u64>(), touched);
            assert!(touched <= u64::from(LIMITS.max_pin_pages));
        }
        Ok(Request::Close { .. } | Request::Unpin { .. }) | Err(_) => {}
    }
});
