//! The log: to standard error, one line an event, of front and workers alike.

use std::io::Write;

/// Starts logging lines that name `program` and the process. A second start is ignored.
pub fn start(program: &'static str, level: log::LevelFilter) {
    let process = std::process::id();
    let result = env_logger::Builder::new()
        .filter_level(level)
        .format(move |out, record| {
            writeln!(out, "{program}[{process}] {}: {}", record.level().as_str().to_ascii_lowercase(), record.args())
        })
        .try_init();
    if result.is_err() {
        log::debug!("the log is started already");
    }
}
