//! What the fuzz targets of `tests/fuzz` call: the guest's end of the control socket, and a session that goes on after its death.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use crate::local;

/// Takes `data` for what a front answers: whole messages are read, as many as there are.
pub fn answers(data: &[u8]) {
    let (ours, mut theirs) = UnixStream::pair().expect("sockets");
    // More than a socket takes at a time is left out.
    theirs.set_nonblocking(true).expect("socket");
    let _ = theirs.write(data);
    theirs.shutdown(Shutdown::Write).expect("open");
    while let Ok((message, descriptors, _)) = local::receive_message(&ours) {
        assert!(descriptors.is_empty());
        std::hint::black_box(message);
    }
}
