//! Atomics of 128 bits.

#[cfg(not(target_arch = "x86_64"))]
static LOCK: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// Compares and exchanges; answers what was there. In assembly, because the compiler's own function is a call into a
/// library that is not there where the processor's features are not named at build time.
#[cfg(target_arch = "x86_64")]
unsafe fn exchange_if(at: *mut u128, old: u128, new: u128) -> u128 {
    let (mut low, mut high) = (old as u64, (old >> 64) as u64);
    // SAFETY: the caller's pointer is good for 16 aligned bytes, and every x86-64 processor since 2006 has the
    // instruction; rbx, which the compiler keeps for itself, is put back.
    unsafe {
        std::arch::asm!(
            "xchg rsi, rbx",
            "lock cmpxchg16b [rdi]",
            "mov rbx, rsi",
            in("rdi") at,
            inout("rsi") new as u64 => _,
            in("rcx") (new >> 64) as u64,
            inout("rax") low,
            inout("rdx") high,
            options(nostack),
        );
    }
    u128::from(low) | u128::from(high) << 64
}

#[cfg(not(target_arch = "x86_64"))]
unsafe fn exchange_if(at: *mut u128, old: u128, new: u128) -> u128 {
    let _held = LOCK.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // SAFETY: the caller's pointer is good for 16 aligned bytes; others come through here too.
    let found = unsafe { at.read() };
    if found == old {
        // SAFETY: as above.
        unsafe { at.write(new) };
    }
    found
}

/// `atom.b128` on 16 aligned bytes the kernel may write. The record: what is expected (of an exchange: the new value), the
/// new value, and room for what was there.
pub unsafe extern "C" fn wide(at: *mut u128, record: *mut [u64; 6], exchange: u32) {
    // SAFETY: generated code passes a record of 48 bytes on its stack.
    let record = unsafe { &mut *record };
    let pair = |low: u64, high: u64| u128::from(low) | u128::from(high) << 64;
    let (first, second) = (pair(record[0], record[1]), pair(record[2], record[3]));
    let mut found;
    if exchange == 1 {
        let mut expected = 0;
        loop {
            // SAFETY: the code has checked the address.
            found = unsafe { exchange_if(at, expected, first) };
            if found == expected {
                break;
            }
            expected = found;
        }
    } else {
        // SAFETY: as above.
        found = unsafe { exchange_if(at, first, second) };
    }
    record[4] = found as u64;
    record[5] = (found >> 64) as u64;
}
