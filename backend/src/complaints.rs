//! Log lines that the other side can cause as often as it likes: limited, so that a hostile guest does not fill the disk.

/// Lines that one connection may cause.
const MAX_COMPLAINTS: u32 = 100;

/// Counts the lines of one connection.
#[derive(Debug, Default)]
pub struct Complaints {
    written: u32,
}

impl Complaints {
    /// Writes a warning, or nothing where there were enough.
    pub fn add(&mut self, line: std::fmt::Arguments<'_>) {
        self.written = self.written.saturating_add(1);
        match self.written {
            ..MAX_COMPLAINTS => log::warn!("{line}"),
            MAX_COMPLAINTS => log::warn!("{line}; more of these are not logged"),
            _ => {}
        }
    }
}
