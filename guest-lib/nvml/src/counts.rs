//! Calls that are not carried: their answer by their name, and a line in the log where `GPUFERRY_LOG` asks for one.

use crate::nvmlReturn_t;
use crate::status::{NVML_ERROR_NO_PERMISSION, NVML_ERROR_NOT_SUPPORTED};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Words in the names of functions that change the card, or make and end what others would see.
const CHANGES: [&str; 10] =
    ["Set", "Reset", "Clear", "Create", "Destroy", "Remove", "Modify", "Freeze", "Activate", "Update"];

/// Logs the first call of a function that is not carried, and gives its answer.
#[cold]
pub fn stub(name: &'static str) -> nvmlReturn_t {
    static SAID: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let status = answer(name);
    if SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(name) {
        log(format_args!("{name} is not carried; it answers {status}"));
    }
    status
}

/// `NVML_ERROR_NO_PERMISSION` for what changes the card: the guest is no administrator of it.
fn answer(name: &str) -> nvmlReturn_t {
    // An event set is the program's own object.
    let changes = !name.contains("EventSet") && CHANGES.iter().any(|word| name.contains(word));
    if changes { NVML_ERROR_NO_PERMISSION } else { NVML_ERROR_NOT_SUPPORTED }
}

/// Writes a line to standard error, where the environment asks for it.
pub fn log(text: core::fmt::Arguments<'_>) {
    static WANTED: OnceLock<bool> = OnceLock::new();
    if *WANTED.get_or_init(|| std::env::var("GPUFERRY_LOG").is_ok_and(|level| level == "info" || level == "debug")) {
        // Nobody can be told of a log that cannot be written.
        let _ = std::io::stderr().write_all(format!("gpuferry: {text}\n").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_when_a_function_changes_the_card_then_is_no_permission() {
        assert_eq!(answer("nvmlDeviceSetPowerManagementLimit"), NVML_ERROR_NO_PERMISSION);
        assert_eq!(answer("nvmlDeviceResetGpuLockedClocks"), NVML_ERROR_NO_PERMISSION);
        assert_eq!(answer("nvmlDeviceClearEccErrorCounts"), NVML_ERROR_NO_PERMISSION);
        assert_eq!(answer("nvmlDeviceGetSerial"), NVML_ERROR_NOT_SUPPORTED);
        assert_eq!(answer("nvmlEventSetCreate"), NVML_ERROR_NOT_SUPPORTED);
    }
}
