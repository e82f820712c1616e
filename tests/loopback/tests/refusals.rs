//! What cannot work gets one clear line that says what to do, and changes nothing.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Output;

use loopback::{Folder, Front, Way, errors, finish, front_command, program};

/// The front's refusal: status 1 or 2 and one line on standard error.
fn refused(output: &Output, word: &str) {
    let text = errors(output);
    assert!(matches!(output.status.code(), Some(1 | 2)), "{:?} {text}", output.status);
    assert!(text.contains(word), "no '{word}' in: {text}");
    assert_eq!(text.lines().count(), 1, "more than one line: {text}");
}

/// A program's: the status of `battery` and `picture` for a call that failed.
fn program_refused(output: &Output, word: &str) {
    let text = errors(output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains(word), "no '{word}' in: {text}");
}

#[test]
fn front_when_its_socket_is_in_use_then_says_so() {
    let folder = Folder::new();
    let socket = folder.path("taken");
    let _listener = UnixListener::bind(&socket).expect("bound");
    refused(&finish(&mut front_command(&socket)), "in use");
}

#[test]
fn front_when_its_socket_is_a_file_then_leaves_it() {
    let folder = Folder::new();
    let file = folder.path("file");
    std::fs::write(&file, "precious").expect("written");
    refused(&finish(&mut front_command(&file)), "not a socket");
    assert_eq!(std::fs::read_to_string(&file).expect("still there"), "precious");
}

#[test]
fn front_when_the_folder_of_its_socket_is_not_there_then_says_so() {
    refused(&finish(&mut front_command(Path::new("/nonexistent/socket"))), "folder must exist and be writable");
}

#[test]
fn front_when_the_folder_is_not_writable_then_says_so() {
    let folder = Folder::new();
    let closed = folder.path("closed");
    std::fs::create_dir(&closed).expect("made");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o500)).expect("set");
    // Root may write anywhere but where nobody can.
    // SAFETY: it only reads a number.
    let socket =
        if unsafe { libc::geteuid() } == 0 { Path::new("/proc/socket").to_owned() } else { closed.join("socket") };
    refused(&finish(&mut front_command(&socket)), "cannot make the socket");
}

#[test]
fn front_when_the_host_library_is_missing_then_names_it() {
    let folder = Folder::new();
    let mut command = front_command(&folder.path("socket"));
    let output = finish(command.args(["--device", "cuda:0", "--library", "/nonexistent/libcuda.so.1"]));
    let text = errors(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("/nonexistent/libcuda.so.1"), "{text}");
}

#[test]
fn program_when_there_is_no_carrier_then_gets_an_error() {
    let folder = Folder::new();
    let absent = format!("unix:{}", folder.path("absent").display());
    for (carrier, hint) in
        [(absent.as_str(), "absent"), ("/dev/nonexistent", "/dev/nonexistent"), ("nonsense", "nonsense")]
    {
        let mut command = program("battery", Way::To(carrier), &folder);
        let output = finish(command.args(["--only", "events"]).env("GPUFERRY_LOG", "info"));
        program_refused(&output, "cuInit: CUDA_ERROR_");
        program_refused(&output, hint);
    }
}

#[test]
fn picture_when_its_input_is_none_then_says_so_in_one_line() {
    let (folder, front) = (Folder::new(), Front::start());
    let (text, output) = (folder.path("text.png"), folder.path("out.png"));
    std::fs::write(&text, "not a picture").expect("written");
    let mut command = program("picture", Way::Local(&front), &folder);
    let made = finish(command.arg("--input").arg(&text).arg("--output").arg(&output));
    refused(&made, "text.png is not a PNG picture");
    assert!(!output.exists());
}

#[test]
fn sessions_when_there_are_too_many_then_the_next_is_refused() {
    let (folder, front) = (Folder::new(), Front::with(&["--max-sessions", "1"]));
    let mut first = program("endless", Way::Local(&front), &folder)
        .arg("launches")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("started");
    let mut line = String::new();
    let out = first.stdout.take().expect("a pipe");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).expect("readable");
    assert_eq!(line, "running\n");
    let second = finish(program("battery", Way::Local(&front), &folder).args(["--only", "events"]));
    program_refused(&second, "cuInit: CUDA_ERROR_");
    assert!(first.try_wait().expect("a child").is_none(), "the first program ended too");
    first.kill().expect("killed");
    first.wait().expect("ended");
}

/// Bytes that are no messages of ours: a generator that gives the same ones in every run.
fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

#[test]
fn front_when_fed_noise_then_drops_it_and_serves_on() {
    let (folder, mut front) = (Folder::new(), Front::start());
    for (seed, count) in [(1, 1), (2, 15), (3, 16), (4, 64), (5, 4096), (6, 100_000)] {
        let mut stream = UnixStream::connect(front.local()).expect("connected");
        // It may hang up before it has read everything.
        let _ = stream.write_all(&noise(seed, count));
    }
    drop(UnixStream::connect(front.local()).expect("connected"));
    let good = finish(program("battery", Way::Local(&front), &folder).args(["--only", "events"]));
    assert!(good.status.success(), "{}", errors(&good));
    assert!(front.runs());
}
