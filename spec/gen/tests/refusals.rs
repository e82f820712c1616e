//! Wrong specs: each is refused at its place with a plain sentence.

use spec_gen::{header, parse};

const HEAD: &str = "#![status(Code, invalid = BAD, gone = GONE)] #![numbers(1, 0xfff)] #![kinds(1, 9)]\nconst BAD: i32 = 1;\nconst GONE: i32 = 2;\n";

/// The refusal of a spec whose trait holds `members`, which begin in line 5.
fn refusal(members: &str) -> String {
    let text = format!("{HEAD}trait T {{\n{members}\n}}\n");
    parse("s.rs", &text).expect_err(members).to_string()
}

/// The refusal of a spec that has `items` from line 4 on.
fn refusal_of_items(items: &str) -> String {
    parse("s.rs", &format!("{HEAD}{items}\n")).expect_err(items).to_string()
}

const KIND: &str = "#[handle(1, error = BAD)] type Thing;\n";

#[test]
fn numbers_when_taken_or_out_of_range_then_are_refused() {
    let two = "#[call(7, post)] fn a();\n#[call(7, post)] fn b();";
    assert_eq!(refusal(two), "s.rs:6:8: number 7 is taken by `a`");
    assert_eq!(refusal("#[call(0, post)] fn a();"), "s.rs:5:8: number 0 is padding");
    assert_eq!(refusal("#[call(65536, post)] fn a();"), "s.rs:5:8: 65536 is out of range here");
    assert_eq!(refusal("#[call(1, later)] fn a();"), "s.rs:5:11: a call is `post`, `wait` or `either`");
    let far = "s.rs:5:8: number 4096 is not among the file's own, 1 to 4095";
    assert_eq!(refusal("#[call(0x1000, post)] fn a();"), far);
}

#[test]
fn names_when_taken_then_are_refused() {
    assert_eq!(refusal("#[call(1, post)] fn a();\n#[call(2, post)] fn a();"), "s.rs:6:21: `a` is there already");
    let alias = "#[call(1, post)] fn a();\n#[call(2, post)] #[alias(a)] fn b();";
    assert_eq!(refusal(alias), "s.rs:6:26: `a` is there already");
    let argument = "#[call(1, post)] fn a(x: u8, x: u8);";
    assert_eq!(refusal(argument), "s.rs:5:30: two arguments are called `x`");
    let reserved = refusal("#[call(1, post)] fn a(reply: u8);");
    assert_eq!(reserved, "s.rs:5:23: `reply` is a name of the printed text: call the argument otherwise");
    assert_eq!(refusal_of_items("type A = u8;\ntype A = u16;"), "s.rs:5:6: the type `A` is there already");
    assert_eq!(refusal_of_items("const BAD: i32 = 3;"), "s.rs:4:7: the constant `BAD` is there already");
    let driver = "#[call(1, post)] fn a();\n#[driver] fn a();";
    assert_eq!(refusal(driver), "s.rs:6:14: the driver function `a` is there already");
}

#[test]
fn kinds_when_broken_then_are_refused() {
    let two = "#[handle(1, error = BAD)] type A;\n#[handle(1, error = BAD)] type B;";
    assert_eq!(refusal(two), "s.rs:6:10: kind 1 is taken");
    assert_eq!(refusal("#[handle(0, error = BAD)] type A;"), "s.rs:5:10: kind 0 is taken");
    let far = "s.rs:5:10: kind 10 is not among the file's own: #![kinds(FIRST, LAST)]";
    assert_eq!(refusal("#[handle(10, error = BAD)] type A;"), far);
    assert_eq!(refusal("#[handle(1)] type A;"), "s.rs:5:1: a kind says its error: error = NAME");
    assert_eq!(refusal("#[handle(1, error = NONE)] type A;"), "s.rs:1:1: the constant `NONE` is used but not there");
    assert_eq!(refusal("#[handle(1, error = BAD, big)] type A;"), "s.rs:5:26: a handle has no `big`");
}

#[test]
fn types_when_unknown_or_misplaced_then_are_refused() {
    assert_eq!(refusal("#[call(1, post)] fn a(x: Nothing);"), "s.rs:5:26: unknown type `Nothing`");
    assert_eq!(refusal("#[call(1, wait)] fn a(#[out] x: Nothing);"), "s.rs:5:33: unknown type `Nothing`");
    assert_eq!(refusal("#[call(1, post)] fn a(x: &u32);"), "s.rs:5:26: a number travels by value, without `&`");
    let pointer = refusal("#[call(1, post)] fn a(x: *mut u32);");
    assert!(pointer.starts_with("s.rs:5:26: write what is pointed to"), "{pointer}");
    assert_eq!(refusal("#[call(1, post)] fn a() -> u32;"), "s.rs:5:25: a call returns its status and nothing else");
    assert_eq!(refusal("#[driver] fn a(x: *mut Nothing);"), "s.rs:5:24: unknown type `Nothing`");
    let any = refusal("#[call(1, post)] fn a(x: Handle);");
    assert_eq!(any, "s.rs:5:23: `x`: this type is for calls that are #[by_hand(both)]");
}

#[test]
fn outputs_when_they_cannot_come_back_then_are_refused() {
    let posted = refusal("#[call(1, post)] fn a(#[out] x: u32);");
    assert_eq!(posted, "s.rs:5:30: `x`: a posted call brings nothing back");
    let pointer = refusal("#[call(1, wait)] fn a(#[out] x: &u32);");
    assert_eq!(pointer, "s.rs:5:33: an output names what is written, without `&`");
    let handle = refusal(&format!("{KIND}#[call(1, wait)] fn a(#[out] x: Thing);"));
    assert_eq!(handle, "s.rs:6:33: `Thing` is a handle; here stands a number or a struct");
    let either = refusal("#[call(1, either)] fn a(#[out] x: u32);");
    assert_eq!(either, "s.rs:5:32: `x`: a posted call brings nothing back");
    let always = refusal("#[call(1, post)] #[always] fn a();");
    assert_eq!(always, "s.rs:5:31: `a` is posted; #[always] is about a reply");
    let large = format!("{HEAD}struct S {{ a: [u64; 600] }}\ntrait T {{ #[call(1, wait)] fn a(#[out] x: S); }}");
    let large = parse("s.rs", &large).expect_err("too large").to_string();
    assert_eq!(large, "s.rs:5:31: the reply of `a` does not fit a slot");
}

#[test]
fn buffers_when_their_length_is_unclear_then_are_refused() {
    let none = refusal("#[call(1, wait)] fn a(#[len(n)] x: &[u8]);");
    assert_eq!(none, "s.rs:5:29: len names `n`, which is no argument");
    let missing = refusal("#[call(1, wait)] fn a(x: &[u8], n: u32);");
    assert_eq!(missing, "s.rs:5:23: `x` needs #[len(argument)]");
    let out = refusal("#[call(1, wait)] fn a(#[len(n)] x: &[u8], #[out] n: u32);");
    assert_eq!(out, "s.rs:5:29: len names `n`, which is no number from the caller");
    let half = refusal("#[call(1, wait)] fn a(#[len(n)] x: &mut [u8], n: u32);");
    assert_eq!(half, "s.rs:5:36: bytes that come back are marked #[out]");
    let both = refusal("#[call(1, wait)] fn a(#[len(n)] x: &[u8], #[device(4)] n: u64);");
    assert_eq!(both, "s.rs:5:56: `n` is a length and cannot be more");
}

#[test]
fn attributes_when_unknown_or_out_of_place_then_are_refused() {
    assert_eq!(refusal("#[call(1, post)] #[fast] fn a();"), "s.rs:5:18: a call has no #[fast]");
    assert_eq!(refusal("#[call(1, post)] fn a(#[new] x: u32);"), "s.rs:5:23: #[new] does not go with `x`'s type");
    assert_eq!(refusal("fn a();"), "s.rs:5:4: `a` is one of #[call(…)], #[driver] and #[local]");
    let stream = refusal("#[call(1, post)] #[ptsz] fn a();");
    assert_eq!(stream, "s.rs:5:29: `a` is #[ptsz] but takes no stream");
    let sibling = refusal("#[call(1, post)] #[ptds(b)] fn a();");
    assert_eq!(sibling, "s.rs:5:25: ptds names `b`, which is no call");
    let parent = refusal(&format!("{KIND}#[call(1, post)] fn a(#[new(y)] x: Thing, y: u32);"));
    assert_eq!(parent, "s.rs:6:33: `x`: an object ends with another object, so #[new] names a handle");
    let unmade = refusal(&format!("{KIND}#[call(1, post)] fn a(#[returned] x: Thing);"));
    assert_eq!(unmade, "s.rs:6:35: `x` is no handle that is made");
    let exported = refusal(&format!("{KIND}#[call(1, post)] fn a(#[new] #[optional] x: Thing);"));
    let guest = "#[optional] and #[returned] objects are for calls that are #[by_hand(guest)]";
    assert_eq!(exported, format!("s.rs:6:42: `x`: {guest}"));
    let list = refusal(&format!("{KIND}#[call(1, post)] fn a(#[len(n)] x: &[Thing], n: u32);"));
    assert_eq!(list, "s.rs:6:33: `x`: handles in a list are for calls that are #[by_hand(guest)]");
    let device = refusal("#[call(1, post)] fn a(#[device(m)] x: u64, n: u32);");
    assert_eq!(device, "s.rs:5:32: `m` is no number among the arguments");
    let alone = refusal("#[call(1, post)] fn a(#[aligned(4)] x: u64);");
    assert_eq!(alone, "s.rs:5:23: #[aligned] goes with #[device]");
    let zero = refusal("#[call(1, post)] fn a(#[device(1)] #[aligned(0)] x: u64);");
    assert_eq!(zero, "s.rs:5:46: an address is a multiple of 1 or more");
}

#[test]
fn structs_when_they_have_gaps_then_are_refused() {
    let before = refusal_of_items("struct S { a: u8, b: u32 }");
    assert_eq!(before, "s.rs:4:19: there is a gap before `b`: write the padding as a field");
    let end = refusal_of_items("struct S { a: u32, b: u8 }");
    assert_eq!(end, "s.rs:4:8: there is a gap at the end: write the padding as a field");
}

#[test]
fn files_when_they_are_no_spec_then_are_refused() {
    assert!(parse("s.rs", "trait {").expect_err("syntax").to_string().contains("this is not Rust syntax"));
    let head = parse("s.rs", "trait T {}").expect_err("no head").to_string();
    assert_eq!(head, "s.rs:1:1: the file begins with #![status(TYPE, invalid = NAME, gone = NAME)]");
    let numbers = parse("s.rs", "#![status(Code, invalid = BAD, gone = GONE)]").expect_err("no numbers").to_string();
    assert_eq!(numbers, "s.rs:1:1: the file says which messages are its own: #![numbers(FIRST, LAST)]");
    assert_eq!(refusal_of_items("fn a() {}"), "s.rs:4:1: a spec holds constants, types, structs and traits");
}

#[test]
fn header_when_the_layouts_are_not_plain_then_is_refused() {
    let refused = |text: &str| header::print("d.rs", text).expect_err(text).to_string();
    assert_eq!(refused("pub fn a() {}"), "d.rs:1:1: here stand constants and structs only");
    let gap = refused("pub struct S {\n    a: u8,\n    b: u32,\n}");
    assert_eq!(gap, "d.rs:3:5: there is a gap before `b`: write the padding as a field");
    assert_eq!(refused("pub struct S { a: usize }"), "d.rs:1:19: `usize` is no integer and no struct above");
    let ioctl = refused("/// `_IO(IOCTL_TYPE, 2)`\npub const IOCTL_A: u32 = 3;");
    assert!(ioctl.starts_with("d.rs:2:11: `IOCTL_A` is documented with its macro"), "{ioctl}");
}
