//! How much memory of its devices this process holds, as the driver says (`nvmlDeviceGetComputeRunningProcesses_v3`): all of
//! it, contexts, code, stacks and queues included, of which no call tells the size. Processes are listed by their numbers in
//! the process namespace of who asks; others of the card make the list longer and change nothing else.
//!
//! Memory that several processes share is in the figure of one of them: of who made it, and when that gives it up or ends, of
//! another.

use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

/// The library's function.
pub type Ask = unsafe extern "C" fn(*mut c_void, *mut u32, *mut c_void) -> i32;

/// `nvmlProcessInfo_t`: number, a gap, bytes, two numbers of instances.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct Info {
    pub process: u32,
    pub gap: u32,
    pub bytes: u64,
    pub instances: [u32; 2],
}

const _: () = assert!(size_of::<Info>() == 24);

/// `NVML_ERROR_INSUFFICIENT_SIZE`.
const TOO_SMALL: i32 = 7;
/// `NVML_VALUE_NOT_AVAILABLE`.
const NOT_TOLD: u64 = u64::MAX;
/// Processes of a card that there is room for at first, and at most.
const ROOM: usize = 256;
const MOST: usize = 1 << 16;

/// Asks.
#[derive(Debug)]
pub struct Figure {
    ask: Ask,
    /// The library's objects.
    devices: Vec<usize>,
    process: u32,
    /// Room for the list, which gets as long as it has to.
    room: Mutex<Vec<Info>>,
}

impl std::fmt::Debug for Info {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{}: {}", self.process, self.bytes)
    }
}

impl Figure {
    /// Of this process, over these devices.
    pub(crate) fn new(ask: Ask, devices: Vec<usize>) -> Figure {
        Figure { ask, devices, process: std::process::id(), room: Mutex::new(vec![Info::default(); ROOM]) }
    }

    /// Bytes of all devices together, 0 where this process is not listed; `None` where the driver does not tell.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        self.devices.iter().try_fold(0u64, |sum, device| sum.checked_add(self.of_device(*device, &mut room)?))
    }

    fn of_device(&self, device: usize, room: &mut Vec<Info>) -> Option<u64> {
        let device = std::ptr::with_exposed_provenance_mut(device);
        loop {
            let mut count = room.len() as u32;
            // SAFETY: the device is the library's object, and the list has room for `count` entries.
            match unsafe { (self.ask)(device, &raw mut count, room.as_mut_ptr().cast()) } {
                0 => {
                    let own = room.iter().take(count as usize).filter(|info| info.process == self.process);
                    return own
                        .map(|info| info.bytes)
                        .try_fold(0u64, |sum, bytes| if bytes == NOT_TOLD { None } else { sum.checked_add(bytes) });
                }
                TOO_SMALL if room.len() < MOST => {
                    let longer = (room.len() * 2).max(count as usize).min(MOST);
                    room.resize(longer, Info::default());
                }
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Device 1 has this process and 600 others, device 2 this one alone, 3 does not tell, all others fail.
    unsafe extern "C" fn processes(device: *mut c_void, count: *mut u32, list: *mut c_void) -> i32 {
        let own = std::process::id();
        let info = |process, bytes| Info { process, bytes, ..Info::default() };
        let all = match device.addr() {
            1 => (1..=600).map(|other| info(own + other, 1 << 40)).chain([info(own, 300)]).collect(),
            2 => vec![info(own, 40)],
            3 => vec![info(own, NOT_TOLD)],
            _ => return 999,
        };
        // SAFETY: the caller's variable.
        let room = unsafe { count.read() } as usize;
        // SAFETY: as above.
        unsafe { count.write(all.len() as u32) };
        if room < all.len() {
            return TOO_SMALL;
        }
        // SAFETY: there is room for as many.
        unsafe { std::ptr::copy_nonoverlapping(all.as_ptr(), list.cast(), all.len()) };
        0
    }

    #[test]
    fn figure_when_others_use_the_card_then_is_this_processs_alone_over_all_its_devices() {
        let figure = |devices: &[usize]| Figure::new(processes, devices.to_vec()).bytes();
        assert_eq!(figure(&[1]), Some(300));
        assert_eq!(figure(&[2, 1]), Some(340));
        assert_eq!(figure(&[1, 3]), None);
        assert_eq!(figure(&[2, 4]), None);
    }
}
