//! Exit statuses of a worker, and what the front makes of them.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use wire::control::Death;

/// The front is gone, or the session was closed in order.
pub const EXIT_CLOSED: i32 = 0;
/// The host's own trouble: no memory, no thread, a panic.
pub const EXIT_TROUBLE: i32 = 70;
/// The library could not be loaded or initialised.
pub const EXIT_LIBRARY: i32 = 71;
/// The guest broke the protocol.
pub const EXIT_MALFORMED: i32 = 72;
/// A call took longer than it may.
pub const EXIT_TIMEOUT: i32 = 74;
/// The front broke the protocol, or is of another version.
pub const EXIT_FRONT: i32 = 73;

/// Why a session is dead whose worker ended like this.
#[must_use]
pub fn of(status: ExitStatus) -> Death {
    match status.code() {
        Some(EXIT_CLOSED) => Death::Closed,
        Some(EXIT_MALFORMED) => Death::Malformed,
        Some(EXIT_TIMEOUT) => Death::TimedOut,
        _ => Death::WorkerEnded,
    }
}

/// How a worker ended, in words for the log.
#[must_use]
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(EXIT_CLOSED), _) => "ended in order".into(),
        (Some(EXIT_LIBRARY), _) => "could not use the host's library (its own message is above)".into(),
        (Some(EXIT_MALFORMED), _) => "ended because the guest broke the protocol (its own message is above)".into(),
        (Some(EXIT_FRONT), _) => {
            "did not understand the front: gpuferryd and gpuferry-worker must be of one build".into()
        }
        (Some(EXIT_TIMEOUT), _) => {
            "ended because a call took longer than it may (--call-timeout, --compile-timeout)".into()
        }
        (Some(EXIT_TROUBLE), _) => "ended by an error of its own (its message is above)".into(),
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(libc::SIGSYS)) => {
            "made a system call that is what its sandbox forbids (--sandbox-debug says which)".into()
        }
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn death_when_a_worker_ends_then_follows_its_status() {
        assert_eq!(of(ExitStatus::from_raw(EXIT_MALFORMED << 8)), Death::Malformed);
        assert_eq!(of(ExitStatus::from_raw(0)), Death::Closed);
        assert_eq!(of(ExitStatus::from_raw(9)), Death::WorkerEnded);
        assert!(describe(ExitStatus::from_raw(9)).contains("signal 9"));
    }
}
