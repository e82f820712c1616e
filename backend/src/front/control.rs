//! The control socket: who connects gets the [`roster`](super::roster)'s report and is closed. Nothing that it sends is read,
//! so there is nothing to decode; who may connect, the socket's mode says.

use std::io::{self, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use super::roster::Roster;

/// How long one that does not read may keep the next from its answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pause after an accept that failed, for lack of descriptors above all.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers without end.
pub fn serve(listener: &UnixListener, roster: &Roster) -> ! {
    loop {
        match listener.accept() {
            Ok((socket, _)) => {
                if let Err(error) = answer(&socket, &roster.report()) {
                    log::debug!("control socket: {error}");
                }
            }
            Err(error) => {
                log::error!("accepting at the control socket: {error}");
                std::thread::sleep(PAUSE);
            }
        }
    }
}

fn answer(mut socket: &UnixStream, report: &str) -> io::Result<()> {
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.write_all(report.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::Instant;

    use super::*;

    #[test]
    fn answer_when_who_asked_does_not_read_then_is_given_up_after_its_patience() {
        let (ours, mut theirs) = UnixStream::pair().expect("sockets");
        // What it sends is not read, and holds nobody up.
        theirs.set_nonblocking(true).expect("set");
        while theirs.write(&[0xff; 4096]).is_ok() {}
        let report = "x".repeat(16 << 20);
        let begin = Instant::now();
        let error = answer(&ours, &report).expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(begin.elapsed() < 3 * PATIENCE, "{:?}", begin.elapsed());
        drop(ours);
        theirs.set_nonblocking(false).expect("set");
        let mut rest = Vec::new();
        let _ = theirs.read_to_end(&mut rest);
        assert!(rest.len() < report.len());
    }
}
