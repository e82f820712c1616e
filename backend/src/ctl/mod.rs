//! `gpuferryctl stats`: asks a running `gpuferryd` ([`crate::front::roster`]) what its sessions have done, and shows it.
//!
//! The [`report`](self) is read to its end, checked, and printed as a [`table`](self) or as JSON; with `--watch` again and
//! again, the table then with counts a second.

mod report;
mod table;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use report::Report;

/// What `--help` prints.
const HELP: &str = "\
gpuferryctl - shows what a running gpuferryd does

usage: gpuferryctl stats --control-path PATH [--json] [--watch [SECONDS]]

  --control-path PATH  the socket that gpuferryd made for its own --control-path
  --json               JSON, one object a look, instead of a table
  --watch [SECONDS]    look again every so often (default 2); the table then shows counts a second
  --help, --version    print this, or the version, and exit

One row a session, that is a process of a guest (virtio) or of this host (local):
  PROGRAM              its name and its number where it runs
  WORKER               the process of this host that makes its calls
  STATE                starting, open, ending, or dead (the worker has ended, the program not yet)
  MEMORY               device memory that it holds
  POSTED, WAITED       calls that nobody waits for, and that the program waits for
  SLEEPING             of the latter, those that may sleep in the driver
  DOORBELLS            times that the program woke the worker
  PARKS                times that the worker went to sleep
  INTERRUPTS           times that the worker woke the program
  COPIED, LEASED       bytes through frames, replies and staging, and bytes in the program's own pages
The counts lie in memory that the guest can write too.
";

/// Longest report that is read.
const MOST_BYTES: u64 = 1 << 20;
/// Longest wait for it.
const PATIENCE: Duration = Duration::from_secs(10);

struct Options {
    path: PathBuf,
    json: bool,
    watch: Option<Duration>,
}

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    let options = match parse(std::env::args_os()) {
        Ok(Some(options)) => options,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gpuferryctl: {error} (see gpuferryctl --help)");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        // Who reads our output has enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gpuferryctl: {}: {error}", options.path.display());
            ExitCode::FAILURE
        }
    }
}

/// Reads the arguments, the program's name first; `None` where a text was asked for and printed.
fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<Options>, lexopt::Error> {
    use lexopt::prelude::*;
    let mut parser = lexopt::Parser::from_iter(arguments);
    let (mut command, mut path, mut json, mut watch) = (None, None, false, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Value(word) if command.is_none() => command = Some(word),
            Long("control-path") => path = Some(PathBuf::from(parser.value()?)),
            Long("json") => json = true,
            Long("watch") => {
                let seconds = match parser.optional_value() {
                    Some(value) => value.parse()?,
                    None => match parser.try_raw_args().and_then(|mut rest| rest.next_if(is_number)) {
                        Some(word) => word.parse()?,
                        None => 2.0,
                    },
                };
                let time = Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero());
                watch = Some(time.ok_or("--watch wants a number of seconds")?);
            }
            Long("help") | Short('h') => {
                print!("{HELP}");
                return Ok(None);
            }
            Long("version") | Short('V') => {
                println!("gpuferryctl {}", env!("CARGO_PKG_VERSION"));
                return Ok(None);
            }
            other => return Err(other.unexpected()),
        }
    }
    match command {
        Some(word) if word == "stats" => {}
        _ => return Err("the one command is stats".into()),
    }
    let path = path.ok_or("--control-path is missing")?;
    Ok(Some(Options { path, json, watch }))
}

fn is_number(word: &std::ffi::OsStr) -> bool {
    word.to_str().is_some_and(|word| word.parse::<f64>().is_ok())
}

fn run(options: &Options) -> io::Result<()> {
    let mut last: Option<Report> = None;
    loop {
        let report = ask(&options.path)?;
        let text =
            if options.json { report.json() } else { table::show(&report, last.as_ref(), options.watch.is_some()) };
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()?;
        let Some(pause) = options.watch else { return Ok(()) };
        last = Some(report);
        std::thread::sleep(pause);
    }
}

fn ask(path: &Path) -> io::Result<Report> {
    let socket = UnixStream::connect(path)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut text = String::new();
    socket.take(MOST_BYTES).read_to_string(&mut text)?;
    Report::parse(&text)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no report of a gpuferryd of this release"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Option<Options>, lexopt::Error> {
        parse(std::iter::once("gpuferryctl").chain(words.iter().copied()).map(OsString::from))
    }

    #[test]
    fn arguments_when_watch_has_a_number_or_none_then_both_are_taken() {
        let watch = |words: &[&str]| read(words).expect("read").expect("options").watch;
        assert_eq!(watch(&["stats", "--control-path", "a"]), None);
        assert_eq!(watch(&["stats", "--watch", "--control-path", "a"]), Some(Duration::from_secs(2)));
        assert_eq!(watch(&["stats", "--watch", "0.5", "--control-path", "a"]), Some(Duration::from_millis(500)));
        assert_eq!(watch(&["--control-path=a", "stats", "--watch=3"]), Some(Duration::from_secs(3)));
    }

    #[test]
    fn arguments_when_something_is_missing_or_more_then_are_refused() {
        let bad: [&[&str]; 5] = [
            &[],
            &["stats"],
            &["top", "--control-path", "a"],
            &["stats", "x"],
            &["stats", "--watch=0", "--control-path=a"],
        ];
        for words in bad {
            assert!(read(words).is_err(), "{words:?}");
        }
    }
}
