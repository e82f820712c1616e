//! Calls every function of the library with what is wrong, one line a call: `wrong [SITUATION [PART PARTS]]`.
//!
//! A call may end its process, in the vendor's library too: each situation runs in children, and another is started behind a
//! call that ended one. A call may also change the state of its thread: each has a thread of its own, which is in the
//! situation. So the lines say the same in any order, and can be compared between libraries: a status, or the signal. What an
//! H200 answered is in `expected/wrong.txt`.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;

use programs::any::{Any, MOST};
use programs::{cu, fail};

/// The names of the API.
const NAMES: &str = include_str!("../../../../../spec/api/cuda_exports.txt");
/// What is not called: it belongs to window systems and debuggers, or works on the whole process or other processes.
const LEFT_OUT: [&str; 9] =
    ["cudbg", "cuEGL", "cuGL", "cuGraphics", "cuVDPAU", "cuCheckpoint", "cuCoredump", "cuProfiler", "cuLogs"];
/// What ends the context that the calls after it need, or waits for a thing that never comes.
const ENDS: [&str; 4] = [
    "cuDevicePrimaryCtxReset",
    "cuDevicePrimaryCtxReset_v2",
    "cuDevicePrimaryCtxRelease",
    "cuDevicePrimaryCtxRelease_v2",
];
/// A number that is no pointer and no handle of anybody.
const WILD: u64 = 0x7f00_dead_0000;
/// Option of the child, before its situation and the places where it begins and ends.
const CHILD: &str = "--from";
/// Longest that the calls of a child may take before it is ended, in seconds.
const SECONDS: u32 = 20;
/// Most calls that a child makes: each has a thread from the beginning.
const CALLS: usize = 64;

/// The stream of the thread (CUDA Driver API, CU_STREAM_PER_THREAD).
const PER_THREAD: u64 = 2;
const DESTROYED: &str = "after its context was destroyed";

/// What is wrong, and the word that all arguments are.
const SITUATIONS: [(&str, u64); 5] =
    [("before cuInit", 0), ("nothing but zeros", 0), ("with no context", 0), (DESTROYED, 0), ("wild", WILD)];

fn names() -> Vec<&'static str> {
    let wanted = |name: &&str| {
        // All situations but one have begun with it, and that one is over with it.
        *name != "cuInit" && !LEFT_OUT.iter().any(|out| name.starts_with(out)) && !ENDS.contains(name)
    };
    NAMES.lines().filter(wanted).collect()
}

unsafe extern "C" {
    fn alarm(seconds: u32) -> u32;
}

/// Makes what the situation needs in the process: its context, where there is one.
fn prepare(cuda: &Any, situation: &str) -> Result<u64, String> {
    let mut context = 0u64;
    let begun = match situation {
        "before cuInit" => [0, 0],
        "with no context" => [cu!(cuda, cuInit(0)), 0],
        DESTROYED => [cu!(cuda, cuInit(0)), cu!(cuda, cuCtxCreate_v2(&mut context, 0, 0))],
        _ => [cu!(cuda, cuInit(0)), cu!(cuda, cuDevicePrimaryCtxRetain(&mut context, 0))],
    };
    if begun == [0; 2] { Ok(context) } else { Err(format!("it does not begin: {begun:?}")) }
}

/// Makes a call in this thread once it is its turn, and undoes what a recording that it began would be for others.
fn turn(cuda: &Any, name: &str, word: u64, context: u64, turn: &mpsc::Receiver<()>) {
    if turn.recv().is_err() {
        return;
    }
    println!("{}", cuda.call(name, &[word; MOST]));
    if context != 0 {
        let mut graph = 0u64;
        cu!(cuda, cuStreamEndCapture(PER_THREAD, &mut graph));
    }
}

/// Makes the calls from one on, in this process.
fn child(situation: &str, word: u64, first: usize, end: usize) -> Result<(), String> {
    let cuda = &Any::load()?;
    let (context, names) = (prepare(cuda, situation)?, names());
    std::thread::scope(|scope| {
        let (stand, stands) = mpsc::channel();
        let mut threads = Vec::new();
        for name in names.iter().take(end).skip(first) {
            let ((begin, begins), stand) = (mpsc::channel(), stand.clone());
            let run = move || {
                if context != 0 {
                    cu!(cuda, cuCtxSetCurrent(context));
                }
                let _ = stand.send(());
                turn(cuda, name, word, context, &begins);
            };
            threads.push((name, begin, scope.spawn(run)));
        }
        for _ in &threads {
            stands.recv().map_err(|error| error.to_string())?;
        }
        // For the threads it stays current.
        if situation == DESTROYED && cu!(cuda, cuCtxDestroy_v2(context)) != 0 {
            return Err("the context cannot be destroyed".into());
        }
        for (name, begin, thread) in threads {
            // The line's beginning is out before the call is made, so that it is known which one ended the process.
            print!("{situation}: {name} = ");
            std::io::stdout().flush().map_err(|error| error.to_string())?;
            // SAFETY: a number of seconds.
            unsafe { alarm(SECONDS) };
            begin.send(()).map_err(|error| error.to_string())?;
            thread.join().map_err(|_| "a thread panicked".to_owned())?;
        }
        Ok(())
    })
}

/// Starts children until all calls of a part are made.
fn run(situation: &str, part: usize, parts: usize) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let count = names().len();
    let (mut first, end) = (count * part / parts, count * (part + 1) / parts);
    while first < end {
        let child = Command::new(&program)
            .args([CHILD, situation, &first.to_string(), &end.min(first + CALLS).to_string()])
            .stdout(Stdio::piped())
            .output()
            .map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&child.stdout);
        print!("{text}");
        let done = text.lines().filter(|line| !line.ends_with("= ")).count();
        match child.status.signal() {
            Some(signal) => println!("signal {signal}"),
            None if child.status.success() => {}
            None => return Err(format!("{}: {}", child.status, String::from_utf8_lossy(&child.stderr).trim())),
        }
        first += done + usize::from(child.status.signal().is_some());
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let is_situation = |wanted: &str| SITUATIONS.iter().any(|(name, _)| *name == wanted);
    let number = |text: &str| text.parse().unwrap_or(0);
    let result = match words[..] {
        [CHILD, wanted, first, end] => {
            let word = SITUATIONS.iter().find(|(name, _)| *name == wanted).map_or(0, |(_, word)| *word);
            child(wanted, word, number(first), number(end))
        }
        [] => SITUATIONS.iter().try_for_each(|(name, _)| run(name, 0, 1)),
        [wanted] if is_situation(wanted) => run(wanted, 0, 1),
        [wanted, part, parts] if is_situation(wanted) => run(wanted, number(part), number(parts).max(1)),
        _ => Err(format!("usage: wrong [SITUATION]; situations are {}", SITUATIONS.map(|(name, _)| name).join(", "))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail("wrong", 2, &message),
    }
}
