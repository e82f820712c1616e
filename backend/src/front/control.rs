//! The control socket: who connects gets the [`roster`](super::roster)'s report and is closed. Nothing that it sends is read, so there
//! is nothing to decode; who may connect, the socket's mode says.

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
