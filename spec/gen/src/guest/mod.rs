//! Prints the guest's file: a sender for every call, an exported function for every call that is not by hand, a stub for
//! every exported name that nobody serves, and the table of all exports.
//!
//! What the printed text expects around it is listed in `spec/README.md` § The guest's file.

pub mod any;
mod exports;

use crate::encode::{self, Side};
use crate::model::{Call, Role, Spec};
use crate::words::Text;
use std::collections::BTreeSet;

/// What the guest library has besides the spec.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Every name that the library exports.
    pub exports: Vec<String>,
    /// Names whose exported function is written by hand.
    pub written: BTreeSet<String>,
}

/// Prints the file of a library whose functions are all by hand: no exports, no stubs.
#[must_use]
pub fn print_senders(spec: &Spec) -> String {
    let mut text = Text::default();
    head(spec, &mut text);
    text.finish()
}

/// Prints the file.
#[must_use]
pub fn print(spec: &Spec, around: &Surroundings) -> String {
    let mut text = Text::default();
    head(spec, &mut text);
    let printed = exports::exports(spec, &mut text);
    exports::table(&printed, around, &mut text);
    text.finish()
}

/// Prints all that calls by hand need too.
fn head(spec: &Spec, text: &mut Text) {
    text.line("// Printed by spec-gen; the source is spec/api.");
    text.line("");
    text.line("use core::ffi::{CStr, c_char, c_void};");
    text.line("use wire::Malformed;");
    text.line("use wire::handle::Handle;");
    text.line("use wire::payload::{Buffer, Full, Reader, Writer};");
    text.line(format!("use crate::{};", spec.status));
    text.line("use crate::caller::Caller;");
    text.line("");
    constants(spec, text);
    kinds(spec, text);
    for plain in &spec.structs {
        encode::print_struct(spec, Side::Guest, plain, text);
    }
    numbers(spec, text);
    senders(spec, text);
}

fn constants(spec: &Spec, text: &mut Text) {
    for constant in &spec.constants {
        if constant.is_status {
            // The guest names its statuses by hand, with their texts: both must agree.
            text.line(format!("const _: () = assert!(crate::status::{} == {});", constant.name, constant.value));
        } else {
            text.docs(&constant.docs);
            text.line(format!("pub const {}: {} = {};", constant.name, constant.number.rust(), constant.value));
        }
    }
    text.line("");
    for alias in &spec.aliases {
        text.docs(&alias.docs);
        text.line(format!("pub type {} = {};", alias.name, alias.number.rust()));
    }
    text.line("");
}

fn kinds(spec: &Spec, text: &mut Text) {
    text.line("/// A kind of handle.");
    text.line("#[derive(Clone, Copy, Debug, PartialEq, Eq)]");
    text.line("pub struct Kind {");
    text.line("/// Number in a handle.");
    text.line("pub number: u8,");
    text.line("/// Name of the C type.");
    text.line("pub name: &'static str,");
    text.line("/// Status for what is no handle of this kind.");
    text.line(format!("pub error: {},", spec.status));
    text.line("/// Largest number that is no handle and travels as it is.");
    text.line("pub plain_up_to: Option<u64>,");
    text.line("/// Ends with the context in which it was made.");
    text.line("pub in_context: bool,");
    text.line("}");
    text.line("");
    text.line("/// The kinds, by the name of the C type.");
    crate::kinds::constants(spec, "crate::status", text);
    for kind in &spec.kinds {
        text.docs(&kind.docs);
        text.line(format!("pub type {} = *mut c_void;", kind.name));
    }
    text.line("");
}

fn numbers(spec: &Spec, text: &mut Text) {
    text.line("/// Numbers of the messages.");
    text.line("pub mod number {");
    for call in &spec.calls {
        text.line(format!("/// `{}`.", call.name));
        text.line(format!("pub const {}: u16 = {};", call.name, call.number));
    }
    text.line("}");
    text.line("");
}

/// Most bytes of a string or a run in a frame.
const RUN_BYTES: usize = 48 * 1024;

fn senders(spec: &Spec, text: &mut Text) {
    text.line("/// One typed sender a call.");
    text.line("pub mod send {");
    text.line("use super::*;");
    text.line("");
    text.line("/// Bytes of a buffer that lie in the frame.");
    text.line("fn inline_bytes(buffer: &Buffer<'_>) -> usize {");
    text.line("if let Buffer::Inline(data) = buffer { data.len() } else { 0 }");
    text.line("}");
    text.line("");
    text.line("/// Puts what came back in a reply where it belongs.");
    text.line("fn take_bytes(buffer: &Buffer<'_>, to: &mut [u8], r: &mut Reader<'_>) -> Result<(), Malformed> {");
    text.line("if let Buffer::Reply { .. } = buffer {");
    text.line("to.copy_from_slice(r.raw(to.len())?);");
    text.line("}");
    text.line("Ok(())");
    text.line("}");
    for call in &spec.calls {
        text.line("");
        sender(spec, call, text);
    }
    text.line("}");
    text.line("");
}

fn sender(spec: &Spec, call: &Call, text: &mut Text) {
    text.docs(&call.docs);
    text.line("#[inline]");
    let arguments: Vec<String> =
        call.arguments.iter().filter_map(|argument| sender_argument(spec, &argument.name, &argument.role)).collect();
    let comma = if arguments.is_empty() { "" } else { ", " };
    let waits = if call.either { ", waits: bool" } else { "" };
    text.line(format!("pub fn {}(c: &Caller{waits}{comma}{}) -> {} {{", call.name, arguments.join(", "), spec.status));
    for argument in &call.arguments {
        let length = match argument.role {
            Role::Run { .. } => "len()",
            Role::Handles { .. } => "len() * 8",
            Role::Text => "to_bytes().len()",
            _ => continue,
        };
        text.line(format!("if {}.{length} > {RUN_BYTES} {{", argument.name));
        text.line(format!("return crate::status::{};", spec.invalid));
        text.line("}");
    }
    let (fixed, mut more) = encode::bound(spec, call);
    more.insert(0, fixed.to_string());
    let bound = more.join(" + ");
    if call.either {
        either(spec, call, &bound, text);
        return;
    }
    let way = if call.waits { "wait" } else { "post" };
    text.line(format!("let sent = c.session.{way}("));
    text.line(format!("{},", call.number));
    text.line("c.origin,");
    text.line(format!("{bound},"));
    request(spec, call, "", ",", text);
    if call.waits {
        reply(spec, call, text);
    }
    text.line(");");
    text.line("match sent {");
    let makes_or_ends =
        |argument: &crate::model::Argument| matches!(argument.role, Role::New { .. } | Role::Handle { ends: true, .. });
    match (call.waits, call.blocks) {
        // The status of a call that makes or ends an object says whether the number means something on the host.
        (true, true) if !call.arguments.iter().any(makes_or_ends) => {
            // A call that synchronises brings the status of a posted call that failed.
            text.line("Ok(0) => c.session.take_deferred(),");
            text.line("Ok(status) => status,");
        }
        (true, _) => text.line("Ok(status) => status,"),
        (false, _) => text.line("Ok(()) => 0,"),
    }
    text.line(format!("Err(_) => crate::status::{},", spec.gone));
    text.line("}");
    text.line("}");
}

/// The rest of the sender of a call that is waited for or not.
fn either(spec: &Spec, call: &Call, bound: &str, text: &mut Text) {
    text.line(format!("let bound = {bound};"));
    request(spec, call, "let fill = ", ";", text);
    text.line("let sent = if waits {");
    text.line("c.session.wait(");
    text.line(format!("{}, c.origin, bound, fill,", call.number));
    reply(spec, call, text);
    text.line(")");
    text.line("} else {");
    text.line(format!("c.session.post({}, c.origin, bound, fill).map(|()| 0)", call.number));
    text.line("};");
    text.line(format!("sent.unwrap_or(crate::status::{})", spec.gone));
    text.line("}");
}

fn sender_argument(spec: &Spec, name: &str, role: &Role) -> Option<String> {
    Some(match role {
        Role::Number { name: ty, .. } => format!("{name}: {ty}"),
        Role::Length { .. } => return None,
        Role::Struct(place) => format!("{name}: &{}", spec.structs[*place].name),
        Role::Handle { .. } | Role::AnyHandle | Role::New { .. } => format!("{name}: Handle"),
        Role::Out { element, .. } => format!("{name}: &mut {}", encode::type_name(spec, element)),
        Role::OutRun => format!("{name}: &mut Vec<u8>"),
        Role::Input { .. } => format!("{name}: Buffer<'_>"),
        Role::Output { .. } => format!("{name}: Buffer<'_>, {name}_reply: &mut [u8]"),
        Role::Run { .. } => format!("{name}: &[u8]"),
        Role::Handles { .. } => format!("{name}: &[Handle]"),
        Role::Text => format!("{name}: &CStr"),
    })
}

/// Prints the closure that fills the request, between `begin` and `end`.
fn request(spec: &Spec, call: &Call, begin: &str, end: &str, text: &mut Text) {
    let mut lines = Vec::new();
    for argument in &call.arguments {
        let name = &argument.name;
        match &argument.role {
            Role::Number { name: of, number, .. } => {
                lines.push(format!("{}?;", encode::put_named(spec, Side::Guest, of, *number, name)));
            }
            Role::Struct(_) => lines.push(format!("{name}.write(w)?;")),
            Role::Handle { .. } | Role::AnyHandle | Role::New { .. } => lines.push(format!("w.u64({name}.0)?;")),
            Role::Input { .. } | Role::Output { .. } => lines.push(format!("w.buffer({name})?;")),
            Role::Handles { .. } => {
                lines.push(format!("w.u32(({name}.len() * 8) as u32)?;"));
                let copy = "to.copy_from_slice(&handle.0.to_le_bytes())";
                lines.push(format!("let to = w.space(1, {name}.len() * 8)?;"));
                lines.push(format!("to.chunks_exact_mut(8).zip({name}).for_each(|(to, handle)| {copy});"));
            }
            Role::Run { align: 1 } => lines.push(format!("w.run({name})?;")),
            Role::Run { align } => {
                lines.push(format!("w.u32({name}.len() as u32)?;"));
                lines.push(format!("w.space({align}, {name}.len())?.copy_from_slice({name});"));
            }
            Role::Text => lines.push(format!("w.run({name}.to_bytes())?;")),
            Role::Length { .. } | Role::Out { .. } | Role::OutRun => {}
        }
    }
    if lines.is_empty() {
        text.line(format!("{begin}|_: &mut Writer<'_>| Ok::<(), Full>(()){end}"));
        return;
    }
    text.line(format!("{begin}|w: &mut Writer<'_>| -> Result<(), Full> {{"));
    lines.iter().for_each(|line| text.line(line));
    text.line("Ok(())");
    text.line(format!("}}{end}"));
}

fn reply(spec: &Spec, call: &Call, text: &mut Text) {
    let mut lines = Vec::new();
    for argument in &call.arguments {
        let name = &argument.name;
        match &argument.role {
            Role::Out { element, .. } => lines.push(format!("*{name} = {};", encode::take(spec, Side::Guest, element))),
            Role::OutRun => lines.push(format!("*{name} = r.run()?.to_vec();")),
            Role::Output { .. } => lines.push(format!("take_bytes(&{name}, {name}_reply, r)?;")),
            _ => {}
        }
    }
    text.line(format!("|status: {}, r: &mut Reader<'_>| -> Result<{}, Malformed> {{", spec.status, spec.status));
    if !lines.is_empty() && !call.always {
        text.line("if status == 0 {");
    }
    lines.iter().for_each(|line| text.line(line));
    if !lines.is_empty() && !call.always {
        text.line("}");
    }
    text.line("r.clone().end()?;");
    text.line("Ok(status)");
    text.line("},");
}
