//! The log: to standard error, one line an event, of front and workers alike.

use std::io::Write;

/// Starts logging lines that name `program` and the process. A second start is ignored.
pub fn start(program: &'static str, level: log::LevelFilter) {
    // What the machine knows it by, where the process is the first of a namespace.
    let known = std::fs::read_link("/proc/self").ok().and_then(|link| link.to_str()?.parse::<u32>().ok());
    let first = std::process::id() == 1;
    let number = move || if first { known.unwrap_or(1) } else { std::process::id() };
    let result = env_logger::Builder::new()
        .filter_level(level)
        .format(move |out, record| {
            writeln!(out, "{program}[{}] {}: {}", number(), record.level().as_str().to_ascii_lowercase(), record.args())
        })
        .try_init();
    if result.is_err() {
        log::debug!("the log is started already");
    }
}
