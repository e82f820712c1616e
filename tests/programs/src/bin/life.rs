//! What a process does with itself while it uses the device: `life [SITUATION]`, a line for each thing that was seen.
//!
//! exec, fork, closing and opening the library again, handlers at exit, threads that come and go. The program starts itself
//! for those that end or replace a process.

use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, OnceLock};

use programs::any::Any;
use programs::{cu, fail};

type Situation = (&'static str, fn());

const SITUATIONS: [Situation; 6] =
    [("exec", exec), ("exit", exit), ("reopen", reopen), ("threads", threads), ("forks", forks), ("orphan", orphan)];
/// Option of the program that another one has started, before what it is to do.
const INSIDE: &str = "--inside";

unsafe extern "C" {
    fn atexit(handler: extern "C" fn()) -> i32;
    fn fork() -> i32;
    fn waitpid(process: i32, status: *mut i32, options: i32) -> i32;
    fn _exit(status: i32) -> !;
    fn pause() -> i32;
    fn close(descriptor: i32) -> i32;
}

/// The library, with the primary context current.
fn begin() -> Any {
    let cuda = Any::load().unwrap_or_else(|message| fail("life", 3, &message));
    let mut context = 0u64;
    let begun = [
        cu!(cuda, cuInit(0)),
        cu!(cuda, cuDevicePrimaryCtxRetain(&mut context, 0)),
        cu!(cuda, cuCtxSetCurrent(context)),
    ];
    if begun != [0; 3] {
        fail("life", 3, &format!("the device does not begin: {begun:?}"));
    }
    cuda
}

/// Words on the device that are set and read; their sum, or the first call's failure.
fn work(cuda: &Any, value: u32) -> String {
    let (mut memory, mut words) = (0u64, [0u32; 256]);
    let statuses = [
        cu!(cuda, cuMemAlloc_v2(&mut memory, 1024usize)),
        cu!(cuda, cuMemsetD32_v2(memory, value, 256usize)),
        cu!(cuda, cuMemcpyDtoH_v2(words.as_mut_ptr(), memory, 1024usize)),
        cu!(cuda, cuMemFree_v2(memory)),
    ];
    match statuses.iter().find(|status| **status != 0) {
        Some(_) => format!("{statuses:?}"),
        None => words.iter().sum::<u32>().to_string(),
    }
}

fn say(what: &str, value: impl std::fmt::Display) {
    println!("{what}: {value}");
}

/// Starts this program for a part; its lines, and how it ended.
fn inside(part: &str) -> String {
    let program = std::env::current_exe().expect("a path");
    let output = Command::new(program).args([INSIDE, part]).output().expect("started");
    format!("{}{part}: {}", String::from_utf8_lossy(&output.stdout), output.status)
}

/// A process that uses the device becomes another program that does.
fn exec() {
    println!("{}", inside("before exec"));
}

fn before_exec() {
    let cuda = begin();
    say("before exec", work(&cuda, 1));
    // Work that is still under way, and memory that nobody gives back.
    let mut memory = 0u64;
    cu!(cuda, cuMemAlloc_v2(&mut memory, 64usize << 20));
    cu!(cuda, cuMemsetD8Async(memory, 1u8, 64usize << 20, 0u64));
    let program = std::env::current_exe().expect("a path");
    let error = std::os::unix::process::CommandExt::exec(Command::new(program).args([INSIDE, "after exec"]));
    say("exec", error);
}

fn after_exec() {
    let cuda = begin();
    say("after exec", work(&cuda, 2));
    let descriptors = std::fs::read_dir("/proc/self/fd").map_or(0, std::iter::Iterator::count);
    // Its own three, the folder that is read, and what the library opens once.
    say("few descriptors", descriptors < 64);
}

static LIBRARY: OnceLock<Any> = OnceLock::new();
static KEPT: AtomicU64 = AtomicU64::new(0);

extern "C" fn early() {
    let cuda = LIBRARY.get().expect("loaded");
    // What the library answers here depends on whose handlers come first, so that only an end without a crash counts.
    cu!(cuda, cuCtxSynchronize());
    cu!(cuda, cuMemFree_v2(KEPT.load(Ordering::SeqCst)));
    println!("handler from before the library: called");
}

extern "C" fn late() {
    let cuda = LIBRARY.get().expect("loaded");
    say("handler from after cuInit", work(cuda, 3));
}

/// A value of a thread whose end frees memory.
struct Held;

impl Drop for Held {
    fn drop(&mut self) {
        let cuda = LIBRARY.get().expect("loaded");
        say("memory freed when its thread ended", cu!(cuda, cuMemFree_v2(KEPT.load(Ordering::SeqCst))));
    }
}

thread_local! {
    static HELD: Held = const { Held };
}

/// Handlers at exit use the device.
fn exit() {
    println!("{}", inside("handlers"));
    println!("{}", inside("exit of a thread"));
}

fn handlers() {
    // SAFETY: handlers that stay.
    unsafe { atexit(early) };
    let cuda = LIBRARY.get_or_init(begin);
    let mut memory = 0u64;
    cu!(cuda, cuMemAlloc_v2(&mut memory, 4096usize));
    KEPT.store(memory, Ordering::SeqCst);
    // SAFETY: as above.
    unsafe { atexit(late) };
    say("before exit", work(cuda, 4));
}

/// A thread that ends uses the device in a destructor of its own; then a thread ends the process, while another is in a call.
fn exit_of_a_thread() {
    let cuda = LIBRARY.get_or_init(begin);
    let mut context = 0u64;
    cu!(cuda, cuCtxGetCurrent(&mut context));
    std::thread::spawn(move || {
        let (cuda, mut memory) = (LIBRARY.get().expect("loaded"), 0u64);
        HELD.with(|_| {});
        cu!(cuda, cuCtxSetCurrent(context));
        cu!(cuda, cuMemAlloc_v2(&mut memory, 4096usize));
        KEPT.store(memory, Ordering::SeqCst);
    })
    .join()
    .expect("no panic");
    let begun = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            cu!(cuda, cuCtxSetCurrent(context));
            begun.wait();
            loop {
                work(cuda, 5);
            }
        });
        scope.spawn(|| {
            begun.wait();
            println!("one thread ends the process");
            std::process::exit(0);
        });
    });
}

/// The library is closed and opened again.
fn reopen() {
    for round in 1..=3u32 {
        let cuda = begin();
        say(&format!("opened {round} times"), work(&cuda, round));
    }
}

/// Many threads at a time, and one after the other, each with a stream of its own.
fn threads() {
    let cuda = begin();
    let mut context = 0u64;
    cu!(cuda, cuCtxGetCurrent(&mut context));
    let said = AtomicU64::new(0);
    let one = |value: u32| {
        let mut stream = 0u64;
        let made = [cu!(cuda, cuCtxSetCurrent(context)), cu!(cuda, cuStreamCreate(&mut stream, 1))];
        let sum = work(&cuda, value);
        let ended = [cu!(cuda, cuStreamSynchronize(stream)), cu!(cuda, cuStreamDestroy_v2(stream))];
        let is_right = made == [0; 2] && ended == [0; 2] && sum == (256 * value).to_string();
        if !is_right && said.fetch_add(1, Ordering::Relaxed) < 3 {
            say(&format!("thread {value} is wrong"), format!("{made:?} {sum} {ended:?}"));
        }
        is_right
    };
    let at_a_time = std::thread::scope(|scope| {
        let all: Vec<_> = (0..150u32)
            .map(|value| {
                scope.spawn({
                    let one = &one;
                    move || one(value)
                })
            })
            .collect();
        all.into_iter().map(|thread| thread.join().expect("no panic")).filter(|right| *right).count()
    });
    say("of 150 threads at a time", at_a_time);
    let in_turn = (0..600u32)
        .filter(|value| std::thread::scope(|scope| scope.spawn(|| one(*value)).join().expect("no panic")))
        .count();
    say("of 600 threads one after the other", in_turn);
}

/// A child's exit status by `waitpid`.
fn status_of(child: i32) -> i32 {
    let mut status = -1;
    // SAFETY: waits for the child.
    unsafe { waitpid(child, &mut status, 0) };
    status
}

/// Forks before and after the device is used.
fn forks() {
    // SAFETY: this process has one thread.
    let before = unsafe { fork() };
    if before == 0 {
        let cuda = begin();
        let right = work(&cuda, 6) == "1536";
        // SAFETY: ends the child at once.
        unsafe { _exit(i32::from(!right)) };
    }
    let cuda = begin();
    say("with a child that began before", work(&cuda, 7));
    say("the child", status_of(before));
    for (what, code) in [("a child that ends at once", 0), ("a child that ends with a status", 3)] {
        // SAFETY: the child makes one call and ends.
        let child = unsafe { fork() };
        if child == 0 {
            cu!(cuda, cuCtxSynchronize());
            // SAFETY: ends the child at once.
            unsafe { _exit(code) };
        }
        say(what, status_of(child) >> 8);
        say("its parent", work(&cuda, 8));
    }
    // SAFETY: the child ends as a program does, with handlers.
    let child = unsafe { fork() };
    if child == 0 {
        std::process::exit(0);
    }
    say("a child that ends with handlers", status_of(child));
    say("its parent", work(&cuda, 9));
    let program = std::env::current_exe().expect("a path");
    let other = Command::new(program).args([INSIDE, "after exec"]).output().expect("started");
    print!("{}", String::from_utf8_lossy(&other.stdout));
    say("beside a child that was started", work(&cuda, 10));
}

/// Ends while a child of it lives on: prints the child's number. The child has nothing of what its parent prints to.
fn orphan() {
    let cuda = begin();
    say("before", work(&cuda, 11));
    // SAFETY: the child only sleeps.
    let child = unsafe { fork() };
    if child == 0 {
        // SAFETY: its parent's pipes; then until a signal ends it.
        unsafe {
            close(1);
            close(2);
            pause();
        }
    }
    say("child", child);
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let parts: [Situation; 4] = [
        ("before exec", before_exec),
        ("after exec", after_exec),
        ("handlers", handlers),
        ("exit of a thread", exit_of_a_thread),
    ];
    let found = match words[..] {
        [INSIDE, wanted] => parts.iter().find(|(name, _)| *name == wanted),
        [wanted] => SITUATIONS.iter().find(|(name, _)| *name == wanted),
        _ => None,
    };
    let Some((_, run)) = found else {
        fail(
            "life",
            2,
            &format!("usage: life SITUATION; situations are {}", SITUATIONS.map(|(name, _)| name).join(", ")),
        );
    };
    run();
    ExitCode::SUCCESS
}
