//! Exported functions, stubs, and the table of both.

use super::Surroundings;
use crate::encode;
use crate::model::{Call, Role, Spec};
use crate::words::Text;
use std::collections::BTreeSet;

/// How an export treats the stream.
#[derive(Clone, Copy, PartialEq)]
enum Stream {
    /// As the caller says.
    Given,
    /// A null stream is the thread's own.
    PerThread,
    /// The stream is no argument: it is the thread's own.
    Own,
}

/// Prints the exports and returns their names.
pub(super) fn exports(spec: &Spec, text: &mut Text) -> BTreeSet<String> {
    let mut printed = BTreeSet::new();
    let own: Vec<&Call> = spec.calls.iter().filter(|call| !call.guest_by_hand).collect();
    for call in own {
        let mut one = |name: String, of: &Call, stream: Stream| {
            export(spec, &name, of, stream, text);
            printed.insert(name);
        };
        one(call.name.clone(), call, Stream::Given);
        for alias in &call.aliases {
            one(alias.name.clone(), call, Stream::Given);
        }
        if call.ptsz {
            one(format!("{}_ptsz", call.name), call, Stream::PerThread);
        }
        if let Some(sibling) =
            call.ptds.as_ref().and_then(|named| spec.calls.iter().find(|other| other.name == named.name))
        {
            one(format!("{}_ptds", call.name), sibling, Stream::Own);
        }
    }
    printed
}

fn export(spec: &Spec, name: &str, call: &Call, stream: Stream, text: &mut Text) {
    let stream_place = spec.stream_of(call);
    let is_own = |place: usize| stream == Stream::Own && Some(place) == stream_place;
    text.docs(&call.docs);
    text.line("///");
    text.line("/// # Safety");
    text.line("/// Pointers are as the API asks.");
    text.line("#[unsafe(no_mangle)]");
    let arguments: Vec<String> = call
        .arguments
        .iter()
        .enumerate()
        .filter(|(place, _)| !is_own(*place))
        .map(|(_, argument)| format!("{}: {}", argument.name, c_type(spec, &argument.role)))
        .collect();
    text.line(format!("pub unsafe extern \"C\" fn {name}({}) -> {} {{", arguments.join(", "), spec.status));
    let guarded = format!("crate::caller::guard_named(\"{name}\", || {{");
    text.line(if spec.has_order { format!("let refused = {guarded}") } else { guarded });
    let enter = if call.no_context { "enter" } else { "enter_context" };
    text.line(format!("let c = crate::caller::{enter}()?;"));
    checks(spec, call, text);
    if call.disturbs {
        text.line("crate::capture::check_unsafe()?;");
    }
    let mut handed = Vec::new();
    for (place, argument) in call.arguments.iter().enumerate() {
        handed.extend(bind(spec, call, place, &argument.name, stream, is_own(place), text));
    }
    for argument in &call.arguments {
        if let Role::New { kind, .. } = argument.role {
            text.line(format!("let {0}_new = crate::handles::new(kind::{1})?;", argument.name, spec.kinds[kind].name));
        }
    }
    let comma = if handed.is_empty() { "" } else { ", " };
    let mut sent = format!("send::{}(&c{comma}{})", call.name, handed.join(", "));
    for argument in call.arguments.iter().rev() {
        let name = &argument.name;
        match argument.role {
            Role::Input { .. } => {
                sent = format!("crate::caller::input(&c, {name}.cast(), {name}_bytes, |{name}: Buffer<'_>| {sent})");
            }
            Role::Output { .. } => {
                sent = format!(
                    "crate::caller::output(&c, {name}.cast(), {name}_bytes, |{name}: Buffer<'_>, {name}_reply: &mut [u8]| {sent})"
                );
            }
            _ => {}
        }
    }
    text.line(format!("let status = {sent};"));
    results(spec, call, text);
    if spec.has_order {
        let given = call.arguments.iter().enumerate().filter(|(place, _)| !is_own(*place));
        let given: Vec<String> = given.map(|(_, argument)| format!("&{}", argument.name)).collect();
        text.line("});");
        text.line(format!(
            "if refused == 0 {{ 0 }} else {{ crate::order::settle(\"{name}\", refused, &[{}]) }}",
            given.join(", ")
        ));
    } else {
        text.line("})");
    }
    text.line("}");
    text.line("");
}

/// Refuses null pointers.
fn checks(spec: &Spec, call: &Call, text: &mut Text) {
    let null: Vec<String> = call
        .arguments
        .iter()
        .filter(|argument| match argument.role {
            Role::Out { optional, .. } => !optional,
            Role::Struct(_) | Role::New { .. } | Role::Text => true,
            _ => false,
        })
        .map(|argument| format!("{}.is_null()", argument.name))
        .collect();
    if !null.is_empty() {
        text.line(format!("if {} {{", null.join(" || ")));
        text.line(format!("return Err(crate::status::{});", spec.invalid));
        text.line("}");
    }
}

/// Prints what makes a sender's argument, and returns what is handed over.
fn bind(
    spec: &Spec,
    call: &Call,
    place: usize,
    name: &str,
    stream: Stream,
    is_own: bool,
    text: &mut Text,
) -> Vec<String> {
    let invalid = &spec.invalid;
    match &call.arguments[place].role {
        Role::Length { .. } => vec![],
        Role::Handle { kind, .. } => {
            let check =
                if stream != Stream::Given && Some(place) == spec.stream_of(call) { "per_thread" } else { "check" };
            let raw = if is_own { "core::ptr::null_mut()" } else { name };
            text.line(format!("let {name} = crate::handles::{check}(kind::{}, {raw})?;", spec.kinds[*kind].name));
            vec![name.to_string()]
        }
        Role::New { .. } => vec![format!("{name}_new")],
        Role::Struct(_) => {
            text.line("// SAFETY: not null; the caller says that it points to the struct.");
            text.line(format!("let {name} = &unsafe {{ {name}.read_unaligned() }};"));
            vec![name.to_string()]
        }
        Role::Text => {
            text.line("// SAFETY: not null; the caller says that it ends with NUL.");
            text.line(format!("let {name} = unsafe {{ CStr::from_ptr({name}) }};"));
            vec![name.to_string()]
        }
        Role::Out { element, .. } => {
            text.line(format!("let mut {name}_value = {};", encode::zero(spec, element)));
            vec![format!("&mut {name}_value")]
        }
        Role::Input { element, length } | Role::Output { element, length } => {
            let (bytes, _) = spec.measure(element);
            let length = &call.arguments[*length].name;
            text.line(format!(
                "let {name}_bytes = usize::try_from({length}).ok().and_then(|n| n.checked_mul({bytes})).ok_or(crate::status::{invalid})?;"
            ));
            text.line(format!("if {name}.is_null() && {name}_bytes != 0 {{"));
            text.line(format!("return Err(crate::status::{invalid});"));
            text.line("}");
            if matches!(call.arguments[place].role, Role::Output { .. }) {
                return vec![name.to_string(), format!("{name}_reply")];
            }
            vec![name.to_string()]
        }
        Role::Number { device: Some(bytes), aligned, .. } if !call.waits => {
            // What nobody waits for is refused here, where the call is made.
            text.line(format!("crate::ranges::check(&c, {name}, {bytes}, {aligned})?;"));
            vec![name.to_string()]
        }
        Role::Number { .. } | Role::AnyHandle | Role::Handles { .. } | Role::OutRun | Role::Run { .. } => {
            vec![name.to_string()]
        }
    }
}

/// Prints what happens with the status and the values that came back.
fn results(spec: &Spec, call: &Call, text: &mut Text) {
    let new = call.arguments.iter().filter(|argument| matches!(argument.role, Role::New { .. }));
    text.line("if status != 0 {");
    for argument in new {
        text.line(format!("crate::handles::discard({}_new);", argument.name));
    }
    text.line("return Err(status);");
    text.line("}");
    for argument in &call.arguments {
        let name = &argument.name;
        match argument.role {
            Role::New { kind, .. } => {
                text.line("// SAFETY: not null; the caller says that it points to a handle.");
                let ty = &spec.kinds[kind].name;
                text.line(format!("unsafe {{ {name}.write_unaligned({name}_new.0 as {ty}) }};"));
            }
            Role::Handle { ends: true, .. } => text.line(format!("crate::handles::free({name});")),
            Role::Out { optional, .. } => {
                if optional {
                    text.line(format!("if !{name}.is_null() {{"));
                }
                text.line("// SAFETY: not null; the caller says that it points to such a value.");
                text.line(format!("unsafe {{ {name}.write_unaligned({name}_value) }};"));
                if optional {
                    text.line("}");
                }
            }
            _ => {}
        }
    }
    text.line("Ok(())");
}

/// The C type of an argument of an exported function.
fn c_type(spec: &Spec, role: &Role) -> String {
    let buffer = |element| match encode::type_name(spec, element) {
        "u8" => "c_void".to_string(),
        other => other.to_string(),
    };
    match role {
        Role::Number { name, .. } | Role::Length { name, .. } => name.clone(),
        Role::Struct(place) => format!("*const {}", spec.structs[*place].name),
        Role::Handle { kind, .. } => spec.kinds[*kind].name.clone(),
        Role::New { kind, .. } => format!("*mut {}", spec.kinds[*kind].name),
        Role::Out { element, .. } => format!("*mut {}", encode::type_name(spec, element)),
        Role::Input { element, .. } => format!("*const {}", buffer(element)),
        Role::Output { element, .. } => format!("*mut {}", buffer(element)),
        Role::Text => "*const c_char".to_string(),
        // Refused by the reader: these are by hand in the guest.
        Role::AnyHandle | Role::Handles { .. } | Role::OutRun | Role::Run { .. } => "*mut c_void".to_string(),
    }
}

/// Stubs for what nobody serves, and the table of all exports.
pub(super) fn table(printed: &BTreeSet<String>, around: &Surroundings, text: &mut Text) {
    let all: BTreeSet<&String> = around.exports.iter().collect();
    let is_written = |name: &String| around.written.contains(name) && !printed.contains(name);
    let stubs: Vec<&&String> = all.iter().filter(|name| !printed.contains(**name) && !is_written(name)).collect();
    for name in &stubs {
        text.line("/// Not supported: says so once cuInit was called, and is counted by name.");
        text.line("#[unsafe(no_mangle)]");
        text.line(format!("pub extern \"C\" fn {name}() -> i32 {{"));
        text.line(format!("crate::counts::stub(\"{name}\")"));
        text.line("}");
        text.line("");
    }
    text.line("/// Exports that are written by hand elsewhere in this library.");
    text.line("mod by_hand {");
    text.line("unsafe extern \"C\" {");
    for name in all.iter().filter(|name| is_written(name)) {
        text.line(format!("pub fn {name}();"));
    }
    text.line("}");
    text.line("}");
    text.line("");
    text.line("const fn symbol(function: *const ()) -> unsafe extern \"C\" fn() {");
    text.line("// SAFETY: only functions of this library are handed in; who calls one casts it to its own type first.");
    text.line("unsafe { core::mem::transmute::<*const (), unsafe extern \"C\" fn()>(function) }");
    text.line("}");
    text.line("");
    text.line("/// Exports that only say that they are not supported.");
    text.line("pub static STUBS: &[&str] = &[");
    for name in &stubs {
        text.line(format!("\"{name}\","));
    }
    text.line("];");
    text.line("");
    text.line("/// Every exported function by name, sorted.");
    text.line("pub static EXPORTS: &[(&str, unsafe extern \"C\" fn())] = &[");
    for name in &all {
        let path = if is_written(name) { format!("by_hand::{name}") } else { (**name).clone() };
        text.line(format!("(\"{name}\", symbol({path} as *const ())),"));
    }
    text.line("];");
}
