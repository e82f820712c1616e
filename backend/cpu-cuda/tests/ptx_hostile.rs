//! Text that wants to do harm: limits by name, changed and cut kernels, errors with lines.
#![allow(clippy::unwrap_used)] // a failure is the test's

#[path = "ptx/host.rs"]
mod host;

use cpu_cuda::engine::{CompileErrorKind, FaultKind, Limits, Options, link, load};
use host::{Arg, Host};

const KERNELS: &str = include_str!("ptx/kernels.ptx");
const HEAD: &str = ".version 7.0\n.target sm_75\n.address_size 64\n";

struct Noise(u64);

impl Noise {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }
}

/// Words to put where they may hurt.
const WORDS: [&str; 40] = [
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ";",
    ",",
    ":",
    "@",
    "!",
    "|",
    "+",
    "-",
    "<",
    ">",
    "%r1",
    "%p1",
    "%rd1",
    "%f1",
    "_",
    "0",
    "4294967295",
    "-1",
    "0x8000000000000000",
    "18446744073709551615",
    ".reg",
    ".param",
    ".global",
    ".v4",
    ".b128",
    ".f16x2",
    ".pred",
    "bar.sync",
    "shfl.sync.idx.b32",
    "call",
    "ret",
    "$L__BB0_1",
    "\0",
    "\u{e9}",
];

fn mutate(text: &str, noise: &mut Noise) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..1 + noise.next(3) {
        let at = noise.next(lines.len());
        match noise.next(6) {
            0 => drop(lines.remove(at)),
            1 => {
                let other = lines[noise.next(lines.len())].clone();
                lines.insert(at, other);
            }
            2 => {
                let other = noise.next(lines.len());
                lines.swap(at, other);
            }
            3 => {
                // One token for another of the text's own.
                let from = lines[noise.next(lines.len())].clone();
                let words: Vec<&str> = from.split_inclusive([' ', '\t', ',', '.']).collect();
                let mut own: Vec<String> =
                    lines[at].split_inclusive([' ', '\t', ',', '.']).map(str::to_owned).collect();
                if !own.is_empty() && !words.is_empty() {
                    let n = noise.next(own.len());
                    own[n] = words[noise.next(words.len())].to_owned();
                    lines[at] = own.concat();
                }
            }
            4 => {
                let mut chars: Vec<char> = lines[at].chars().collect();
                let n = noise.next(chars.len() + 1);
                let word = WORDS[noise.next(WORDS.len())];
                chars.splice(n..n, word.chars());
                lines[at] = chars.into_iter().collect();
            }
            _ => {
                let mut chars: Vec<char> = lines[at].chars().collect();
                if !chars.is_empty() {
                    let n = noise.next(chars.len());
                    chars.truncate(n);
                    lines[at] = chars.into_iter().collect();
                }
            }
        }
    }
    lines.join("\n")
}

/// The kernels of the corpus, each as a text of its own.
fn single_kernels() -> Vec<String> {
    let (head, rest) = KERNELS.split_at(KERNELS.find("\t// .globl\tvadd").unwrap());
    rest.split("\t// .globl\t")
        .filter(|k| k.contains(".entry") && !k.contains("fib"))
        .map(|k| {
            let head: String = head
                .lines()
                .filter(|l| {
                    !l.starts_with('.')
                        || l.starts_with(".version")
                        || l.starts_with(".target")
                        || l.starts_with(".address")
                })
                .collect::<Vec<_>>()
                .join("\n");
            format!("{head}\n//{k}")
        })
        .collect()
}

#[test]
fn changed_texts_never_panic() {
    let kernels = single_kernels();
    assert!(kernels.len() > 10);
    let rounds = std::env::var("PTX_FUZZ_ROUNDS").ok().and_then(|v| v.parse().ok()).unwrap_or(2000);
    let mut noise = Noise(std::env::var("PTX_FUZZ_SEED").ok().and_then(|v| v.parse().ok()).unwrap_or(0x5eed));
    let mut compiled = 0;
    for round in 0..rounds {
        let text = mutate(&kernels[round % kernels.len()], &mut noise);
        let Ok(module) = load(text.as_bytes(), &Options::default()) else { continue };
        for index in 0..module.functions().len() {
            if module.functions()[index].is_entry {
                match module.compile(index) {
                    Ok(()) => compiled += 1,
                    Err(e) => assert!(!e.message.contains("code generator failed"), "{e}\n{text}"),
                }
            }
        }
    }
    assert!(compiled > rounds / 50, "only {compiled} of {rounds} changed kernels still compiled");
}

#[test]
fn cut_texts_never_panic() {
    for end in (0..KERNELS.len()).step_by(211) {
        let _ = load(&KERNELS.as_bytes()[..end], &Options::default());
    }
    for start in (0..KERNELS.len()).step_by(499) {
        let text = format!("{HEAD}{}", &KERNELS[start..]);
        let _ = load(text.as_bytes(), &Options::default());
    }
}

#[test]
fn changed_kernels_that_run_stay_inside() {
    let kernels = single_kernels();
    let mut noise = Noise(0xfeed);
    let host = Host::new();
    let data = host.upload(&vec![0u32; 4096]);
    let mut ran = 0;
    for round in 0..400 {
        // Not the ones that spin.
        let text = mutate(&kernels[round % kernels.len()], &mut noise);
        if text.contains("volatile") || text.contains("atom.") {
            continue;
        }
        let Ok(module) = host.try_load(&text) else { continue };
        let Some(index) = module.functions().iter().position(|f| f.is_entry) else { continue };
        let info = &module.functions()[index];
        let args: Vec<Arg> = info
            .params
            .iter()
            .map(|p| match p.size {
                4 => Arg::U32(64),
                8 => Arg::U64(data),
                n => Arg::Bytes(vec![0; n as usize]),
            })
            .collect();
        let name = info.name.clone();
        // A loop without end cannot be told from a long one; the jumps of these texts all count something.
        if text.contains("bra.uni") || info.param_bytes > 64 {
            continue;
        }
        let _ = host.launch(&module, &name, [1, 1, 1], [64, 1, 1], &args);
        ran += 1;
    }
    assert!(ran > 20, "{ran}");
}

fn kind(text: &str, limits: Limits) -> (CompileErrorKind, String) {
    let error = load(text.as_bytes(), &Options { limits, ..Options::default() }).err().expect("an error");
    (error.kind, error.message)
}

#[test]
fn limits_are_named() {
    let d = Limits::default();
    let over = |text: &str, limits: Limits, name: &str| {
        let (kind, message) = kind(text, limits);
        assert_eq!(kind, CompileErrorKind::OutOfResources, "{message}");
        assert!(message.contains(name), "{message}");
    };
    let kernel = |body: &str| format!("{HEAD}.visible .entry k() {{ {body} }}");
    over(HEAD, Limits { max_source_bytes: 10, ..d }, "max_source_bytes");
    over(
        &kernel(".reg .b32 %r<9>; mov.u32 %r1, 1; mov.u32 %r2, %r1;"),
        Limits { max_registers: 1, ..d },
        "max_registers",
    );
    over(&kernel(&"{".repeat(100)), d, "max_nesting");
    over(&format!("{HEAD}.global .u32 x = {}1{};", "(".repeat(100), ")".repeat(100)), d, "max_nesting");
    over(&format!("{HEAD}.global .u32 x = {}1{};", "{".repeat(100), "}".repeat(100)), d, "max_nesting");
    over(&format!("{HEAD}.func a() {{ret;}} .func b() {{ret;}}"), Limits { max_functions: 1, ..d }, "max_functions");
    over(&format!("{HEAD}.global .u32 a; .global .u32 b;"), Limits { max_globals: 1, ..d }, "max_globals");
    over(&kernel("ret; ret; ret; ret;"), Limits { max_instructions: 3, ..d }, "max_instructions");
    over(&format!("{HEAD}.global .b8 x[9223372036854775807];"), d, "max_global_bytes");
    over(&format!("{HEAD}.global .b64 x[9223372036854775807][9223372036854775807];"), d, "max_global_bytes");
    over(&kernel(".local .b8 x[99999999999];"), d, "max_local_bytes");
    over(&kernel(".shared .b8 x[99999999999];"), d, "MAX_SHARED_BYTES");
    over(&format!("{HEAD}.visible .entry k(.param .b8 x[99999999999]) {{ ret; }}"), d, "MAX_PARAM_BYTES");
}

#[test]
fn a_function_that_would_compile_for_long_is_refused_by_the_name_of_the_limit() {
    // Two registers, and two places besides its beginning.
    let text = format!("{HEAD}.visible .entry k() {{ .reg .b32 %r<2>; A: mov.u32 %r0, 1; B: mov.u32 %r1, %r0; ret; }}");
    let compiled = |max_register_places| {
        let limits = Limits { max_register_places, ..Limits::default() };
        let module = load(text.as_bytes(), &Options { limits, ..Options::default() }).unwrap();
        module.compile(0).map(|_| ()).map_err(|error| (error.kind, error.message))
    };
    assert_eq!(compiled(6), Ok(()));
    let (kind, message) = compiled(5).unwrap_err();
    assert_eq!((kind, message.contains("max_register_places")), (CompileErrorKind::OutOfResources, true));
}

#[test]
fn errors_say_what_and_where() {
    let fails = |text: &str, line: u32, word: &str| {
        let error = load(text.as_bytes(), &Options::default()).err().expect("an error");
        assert_eq!((error.line, error.kind), (line, CompileErrorKind::InvalidPtx), "{error}");
        assert!(error.message.contains(word), "{error}");
    };
    let kernel = |line: &str| {
        format!("{HEAD}.visible .entry k() {{\n.reg .b32 %r<9>; .reg .pred %p<3>; .reg .f64 %d<3>;\n{line}\n}}")
    };
    fails(&kernel("wgmma.mma_async.sync %r1, %r2;"), 6, "wgmma");
    fails(&kernel("add.s32.cool %r1, %r2, %r3;"), 6, "cool");
    fails(&kernel("add.s32 %r1, %r2;"), 6, "operands");
    fails(&kernel("add.s32 %r1, %r2, %d1;"), 6, "F64");
    fails(&kernel("add.s32 %r1, %r2, %p1;"), 6, "Pred");
    fails(&kernel("add.s32 %r1, %r2, %r99;"), 6, "%r99");
    for form in [
        "vsub.s32.s32.s32.sat %r1.h1, %r2, %r3, %r4;",
        "vadd.u32.u32.u32.sat %r1.b0, %r2, %r3, %r4;",
        "vsub.u32.u32.u32.min %r1, %r2, %r3, %r4;",
        "vmax.s32.s32.s32.max %r1, %r2, %r3, %r4;",
        "vmad.u32.u32.u32.sat.shr7 %r1, %r2.h1, %r3.b1, %r4;",
        "vmad.u32.u32.u32.po.shr15 %r1, %r2.h1, %r3.h0, %r4;",
        "vmad.s32.s32.s32.sat %r1, %r2.h1, %r3.h0, %r4;",
    ] {
        fails(&kernel(form), 6, "do not follow the ISA's text");
    }
    fails(&kernel("bra nowhere;"), 6, "nowhere");
    fails(&kernel("call nobody;"), 6, "nobody");
    fails("nonsense", 1, "directive");
    assert_eq!(kind(".version 99.0\n", Limits::default()).0, CompileErrorKind::UnsupportedPtxVersion);
    assert_eq!(kind(".version 8.0\n.target sm_999\n", Limits::default()).0, CompileErrorKind::InvalidPtx);
    assert_eq!(
        kind(".version 8.0\n.target sm_75\n.address_size 32\n", Limits::default()).0,
        CompileErrorKind::InvalidPtx
    );
}

#[test]
fn parts_are_linked() {
    let options = Options::default();
    let user = format!(
        "{HEAD}.extern .func (.param .b32 r) next (.param .b32 a); .extern .global .u32 base; .global .u32 own = 5;\n\
         .visible .entry k(.param .u64 out) {{ .reg .b32 %r<9>; .reg .b64 %rd<3>; ld.param.u64 %rd1, [out]; ld.global.u32 %r1, [base];\n\
         ld.global.u32 %r3, [own]; add.u32 %r1, %r1, %r3;\n\
         {{ .param .b32 a; .param .b32 r; st.param.b32 [a], %r1; call.uni (r), next, (a); ld.param.b32 %r2, [r]; }}\n\
         st.global.u32 [%rd1], %r2; ret; }}"
    );
    let library = format!(
        "{HEAD}.visible .global .u32 base = 30; .global .u32 own = 7;\n\
         .visible .func (.param .b32 r) next (.param .b32 a) {{ .reg .b32 %r<3>; ld.param.b32 %r1, [a]; ld.global.u32 %r2, [own];\n\
         add.u32 %r1, %r1, %r2; st.param.b32 [r], %r1; ret; }}"
    );
    let open = link(&[user.as_bytes()], &options).unwrap_err();
    assert_eq!(open.kind, CompileErrorKind::UnresolvedSymbol);
    let image = link(&[user.as_bytes(), library.as_bytes()], &options).unwrap();
    let again = link(&[&image], &options).unwrap();
    let host = Host::new();
    let module = load(&again, &options).unwrap();
    host.bind(&module);
    let out = host.upload(&[0u32]);
    host.launch(&module, "k", [1, 1, 1], [1, 1, 1], &[Arg::U64(out)]).unwrap();
    assert_eq!(host.download::<u32>(out, 1), [42]);
    let twice = link(&[library.as_bytes(), library.as_bytes()], &options).unwrap_err();
    assert_eq!(twice.kind, CompileErrorKind::DefinedTwice);
}

#[test]
fn a_shared_address_of_another_block_when_used_as_ones_own_is_a_fault() {
    let text = ".version 8.3 .target sm_90 .address_size 64
.visible .entry k(.param .u32 at) {
 .reg .b32 %r<4>; .shared .align 16 .b8 tile[64];
 mov.u32 %r2, tile; ld.param.u32 %r1, [at]; add.u32 %r1, %r1, %r2;
 ld.shared.u32 %r3, [%r1]; st.shared.u32 [%r1], %r3; ret; }";
    for at in [1u32 << 24, 2 << 24, 1 << 24 | 60, 64, 0x8000_0000] {
        let host = Host::new();
        let module = host.load(text);
        let fault = host.launch(&module, "k", [1; 3], [1, 1, 1], &[Arg::U32(at)]).unwrap_err();
        assert_eq!(fault.kind, FaultKind::IllegalAddress, "{at:#x}");
    }
}
