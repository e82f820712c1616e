//! Prints the host's file: the table of the library's functions, and for every call a function that decodes its whole message,
//! checks it, forwards it and answers.
//!
//! What the printed text expects around it is listed in `spec/README.md` § The host's file.

use crate::encode::{self, Side};
use crate::model::{Argument, Call, Element, Role, Spec};
use crate::words::Text;

/// Prints the file.
#[must_use]
pub fn print(spec: &Spec) -> String {
    let mut text = Text::default();
    head(spec, &mut text);
    constants(spec, &mut text);
    for plain in &spec.structs {
        encode::print_struct(spec, Side::Host, plain, &mut text);
    }
    library(spec, &mut text);
    dispatch(spec, &mut text);
    for call in &spec.calls {
        forward(spec, call, &mut text);
    }
    text.finish()
}

fn head(spec: &Spec, text: &mut Text) {
    text.line("// Printed by spec-gen; the source is spec/api.");
    text.line("");
    text.line("use std::ffi::{CStr, c_char, c_void};");
    text.line("use std::ptr::NonNull;");
    text.line("use wire::Malformed;");
    text.line("use wire::frame::FrameHeader;");
    text.line("use wire::handle::Handle;");
    text.line("use wire::payload::{Buffer, Full, Reader, Writer};");
    text.line("");
    text.line("/// The API's status.");
    text.line(format!("pub type {} = i32;", spec.status));
    text.line("");
}

fn constants(spec: &Spec, text: &mut Text) {
    for constant in &spec.constants {
        text.docs(&constant.docs);
        text.line(format!("pub const {}: {} = {};", constant.name, constant.number.rust(), constant.value));
    }
    text.line("");
    for alias in &spec.aliases {
        text.docs(&alias.docs);
        text.line(format!("pub type {} = {};", alias.name, alias.number.rust()));
    }
    text.line("");
    text.line("/// The kinds of handles, by the name of the C type.");
    crate::kinds::constants(spec, "super", text);
}

/// A function of the library: its names, first the best, and its C types.
struct Symbol<'a> {
    names: Vec<&'a str>,
    types: Vec<String>,
    result: String,
}

fn symbols(spec: &Spec) -> Vec<Symbol<'_>> {
    let mut found = Vec::new();
    for call in spec.calls.iter().filter(|call| !call.host_by_hand) {
        let mut names = vec![call.name.as_str()];
        names.extend(call.aliases.iter().map(|alias| alias.name.as_str()));
        let returned = is_returned(call);
        let given = call.arguments.iter().filter(|argument| !matches!(argument.role, Role::New { returned: true, .. }));
        let mut types: Vec<String> = given.map(|argument| c_type(spec, &argument.role)).collect();
        if returned {
            types.push(format!("*mut {}", spec.status));
        }
        let result = if returned { "*mut c_void".to_string() } else { spec.status.clone() };
        found.push(Symbol { names, types, result });
    }
    for function in &spec.driver {
        let mut names = vec![function.name.as_str()];
        names.extend(function.aliases.iter().map(|alias| alias.name.as_str()));
        found.push(Symbol {
            names,
            types: function.arguments.iter().map(|(_, ty)| ty.clone()).collect(),
            result: function.result.clone().unwrap_or_else(|| spec.status.clone()),
        });
    }
    found.sort_by(|a, b| a.names.cmp(&b.names));
    found
}

/// Whether the library's function returns the object that it makes, and its status beside it.
fn is_returned(call: &Call) -> bool {
    call.arguments.iter().any(|argument| matches!(argument.role, Role::New { returned: true, .. }))
}

fn library(spec: &Spec, text: &mut Text) {
    let symbols = symbols(spec);
    text.line("/// The functions of the host's library, as far as it has them.");
    text.line("#[derive(Clone, Copy)]");
    text.line("pub struct Library {");
    for symbol in &symbols {
        text.line(format!("/// `{}`.", symbol.names.join("` or `")));
        text.line(format!("pub {}: Option<{}>,", symbol.names[0], function_type(symbol)));
    }
    text.line("}");
    text.line("");
    text.line("impl Library {");
    text.line("/// Looks every function up by name.");
    text.line("///");
    text.line("/// # Safety");
    text.line(
        "/// What `find` returns for a name is the function of that name in the API that the spec describes, and stays loaded.",
    );
    text.line("pub unsafe fn find(find: impl Fn(&CStr) -> Option<NonNull<c_void>>) -> Library {");
    text.line("Library {");
    for symbol in &symbols {
        let (first, more) = symbol.names.split_first().unwrap_or((&"", &[]));
        let mut found = format!("find(c\"{first}\")");
        for name in more {
            found.push_str(&format!(".or_else(|| find(c\"{name}\"))"));
        }
        text.line("// SAFETY: the caller says that this is the function, and the spec has its prototype.");
        let ty = function_type(symbol);
        text.line(format!("{first}: {found}.map(|f| unsafe {{ core::mem::transmute::<NonNull<c_void>, {ty}>(f) }}),"));
    }
    text.line("}");
    text.line("}");
    text.line("}");
    text.line("");
}

fn function_type(symbol: &Symbol<'_>) -> String {
    let result = if symbol.result == "c_void" { String::new() } else { format!(" -> {}", symbol.result) };
    format!("unsafe extern \"C\" fn({}){result}", symbol.types.join(", "))
}

/// The C type of an argument of the library's function.
fn c_type(spec: &Spec, role: &Role) -> String {
    match role {
        Role::Number { name, .. } | Role::Length { name, .. } => name.clone(),
        Role::Struct(place) => format!("*const {}", spec.structs[*place].name),
        Role::Handle { .. } | Role::AnyHandle => "*mut c_void".to_string(),
        Role::New { .. } => "*mut *mut c_void".to_string(),
        Role::Handles { .. } => "*const *mut c_void".to_string(),
        Role::Out { element, .. } => format!("*mut {}", encode::type_name(spec, element)),
        Role::Input { .. } | Role::Run { .. } => "*const c_void".to_string(),
        Role::Output { .. } | Role::OutRun => "*mut c_void".to_string(),
        Role::Text => "*const c_char".to_string(),
    }
}

fn dispatch(spec: &Spec, text: &mut Text) {
    text.line("/// Name of a call, for the log.");
    text.line("pub const fn name(call: u16) -> Option<&'static str> {");
    text.line("Some(match call {");
    for call in &spec.calls {
        text.line(format!("{} => \"{}\",", call.number, call.name));
    }
    text.line("_ => return None,");
    text.line("})");
    text.line("}");
    text.line("");
    text.line("/// Whether a call may sleep in the library, and so runs on a thread of its own.");
    text.line("pub const fn blocks(call: u16) -> bool {");
    let blocking: Vec<String> =
        spec.calls.iter().filter(|call| call.blocks).map(|call| call.number.to_string()).collect();
    if blocking.is_empty() {
        text.line("let _ = call;");
        text.line("false");
    } else {
        text.line(format!("matches!(call, {})", blocking.join(" | ")));
    }
    text.line("}");
    text.line("");
    text.line("/// Carries out one call.");
    text.line("///");
    text.line("/// # Errors");
    text.line("/// [`Malformed`] for a message that no guest library sends; it ends the session.");
    text.line("pub fn dispatch(session: &Session, from: &FrameHeader, payload: &[u8], reply: &mut Reply<'_>) -> Result<(), Malformed> {");
    text.line("let r = &mut Reader::new(payload);");
    text.line("match from.call {");
    for call in &spec.calls {
        text.line(format!("{} => {}(session, from, r, reply),", call.number, call.name));
    }
    text.line("_ => Err(Malformed::new(\"a call of an unknown number\")),");
    text.line("}");
    text.line("}");
    text.line("");
}

fn forward(spec: &Spec, call: &Call, text: &mut Text) {
    text.docs(&call.docs);
    text.line(format!(
        "fn {}(session: &Session, from: &FrameHeader, r: &mut Reader<'_>, reply: &mut Reply<'_>) -> Result<(), Malformed> {{",
        call.name
    ));
    for argument in &call.arguments {
        decode(spec, call, argument, text);
    }
    text.line("r.clone().end()?;");
    if !call.either {
        let way = if call.waits { "waits" } else { "posted" };
        text.line(format!("{way}(from)?;"));
    }
    for argument in &call.arguments {
        prepare(spec, argument, text);
    }
    text.line("let status = answer(|| {");
    if !call.no_context {
        text.line("session.enter(from)?;");
    }
    for argument in &call.arguments {
        if let Role::Handle { kind, .. } = argument.role {
            text.line(format!("let {0} = session.handle(kind::{1}, {0})?;", argument.name, spec.kinds[kind].name));
        }
        if let Role::Handles { kind, .. } = argument.role {
            text.line(format!("let {0} = session.handles(kind::{1}, &{0})?;", argument.name, spec.kinds[kind].name));
        }
        if let Role::Number { device: Some(bytes), .. } = &argument.role {
            text.line(format!("session.device({}, {bytes})?;", argument.name));
        }
    }
    if call.host_by_hand {
        by_hand(call, text)
    } else {
        plain(call, text)
    }
    text.line("})?;");
    settle(spec, call, text);
    answer(spec, call, text);
    text.line("}");
    text.line("");
}

/// Prints what takes an argument out of the message.
fn decode(spec: &Spec, call: &Call, argument: &Argument, text: &mut Text) {
    let name = &argument.name;
    match &argument.role {
        Role::Number { number, .. } => text.line(format!("let {name} = {};", encode::take_number(*number))),
        Role::Struct(place) => text.line(format!("let {name} = {}::read(r)?;", spec.structs[*place].name)),
        Role::Handle { .. } | Role::AnyHandle | Role::New { .. } => {
            text.line(format!("let {name} = Handle(r.u64()?);"))
        }
        Role::Input { element, length } | Role::Output { element, length } => {
            text.line(format!("let {name} = r.buffer()?;"));
            let (bytes, _) = spec.measure(element);
            let counted = &call.arguments[*length];
            let Role::Length { name: ty, of, .. } = &counted.role else { return };
            let is_first = call.arguments[*of].name == *name;
            if is_first {
                text.line(format!("let {0} = elements::<{ty}>(&{name}, {bytes})?;", counted.name));
            } else {
                text.line(format!("same_length(elements::<{ty}>(&{name}, {bytes})?, {})?;", counted.name));
            }
        }
        Role::Handles { length, .. } => {
            text.line(format!("let {name} = handle_list(r.run()?)?;"));
            let counted = &call.arguments[*length];
            let Role::Length { name: ty, of, .. } = &counted.role else { return };
            if call.arguments[*of].name == *name {
                text.line(format!("let {} = list_length::<{ty}>(&{name})?;", counted.name));
            } else {
                text.line(format!("same_length(list_length::<{ty}>(&{name})?, {})?;", counted.name));
            }
        }
        Role::Run { align: 1 } => text.line(format!("let {name} = r.run()?;")),
        Role::Run { align } => {
            text.line(format!("let {name} = r.u32()? as usize;"));
            text.line(format!("let {name} = r.space({align}, {name})?;"));
        }
        Role::Text => text.line(format!("let {name} = text(r.run()?)?;")),
        Role::Length { .. } | Role::Out { .. } | Role::OutRun => {}
    }
}

/// Prints the places for results, and the checks that end the session.
fn prepare(spec: &Spec, argument: &Argument, text: &mut Text) {
    let name = &argument.name;
    match &argument.role {
        Role::New { kind, optional, .. } => {
            let vacant = format!("session.objects.vacant(kind::{}, {name})?;", spec.kinds[*kind].name);
            if_wanted(*optional, name, &vacant, text);
            text.line(format!("let mut {name}_made: *mut c_void = core::ptr::null_mut();"));
        }
        Role::Out { element, .. } => text.line(format!("let mut {name} = {};", encode::zero(spec, element))),
        Role::OutRun => text.line(format!("let mut {name} = Vec::new();")),
        Role::Output { .. } => text.line(format!("let mut {name}_reply = reply_bytes(&{name})?;")),
        _ => {}
    }
}

/// Prints a line about an object that is made, and may be one that nobody wants.
fn if_wanted(optional: bool, name: &str, line: &str, text: &mut Text) {
    if optional {
        text.line(format!("if !{name}.is_null() {{"));
    }
    text.line(line);
    if optional {
        text.line("}");
    }
}

fn by_hand(call: &Call, text: &mut Text) {
    let mut handed = vec!["from".to_string()];
    for argument in &call.arguments {
        let name = &argument.name;
        match &argument.role {
            Role::Length { .. } => {}
            Role::New { .. } => handed.extend([name.clone(), format!("&mut {name}_made")]),
            Role::Struct(_) => handed.push(format!("&{name}")),
            Role::Out { .. } | Role::OutRun => handed.push(format!("&mut {name}")),
            Role::Output { .. } => handed.extend([name.clone(), format!("&mut {name}_reply")]),
            Role::Text | Role::Handles { .. } => handed.push(format!("&{name}")),
            _ => handed.push(name.clone()),
        }
    }
    text.line(format!("session.{}({})", call.name, handed.join(", ")));
}

fn plain(call: &Call, text: &mut Text) {
    let mut handed = Vec::new();
    for argument in &call.arguments {
        let name = &argument.name;
        match &argument.role {
            Role::New { returned: true, .. } => {}
            Role::New { optional: true, .. } => {
                handed.push(format!("if {name}.is_null() {{ core::ptr::null_mut() }} else {{ &raw mut {name}_made }}"));
            }
            Role::New { .. } => handed.push(format!("&raw mut {name}_made")),
            // Where there is none the API asks for a null pointer.
            Role::Handles { .. } => {
                handed.push(format!("if {name}.is_empty() {{ core::ptr::null() }} else {{ {name}.as_ptr() }}"));
            }
            Role::Struct(_) => handed.push(format!("&raw const {name}")),
            Role::Out { .. } => handed.push(format!("&raw mut {name}")),
            Role::Input { element, .. } => {
                // Bytes may change under the library's hands, as in any program; what it decides by must not.
                let is_bulk = matches!(element, Element::Number { number: crate::model::Number::U8, .. });
                let how = if is_bulk { "input" } else { "private" };
                text.line(format!("let {name} = session.{how}({name})?;"));
                handed.push(format!("{name}.pointer()"));
            }
            Role::Output { .. } => {
                text.line(format!("let mut {name} = session.output({name}, &mut {name}_reply)?;"));
                handed.push(format!("{name}.pointer()"));
            }
            Role::Text => handed.push(format!("{name}.as_ptr()")),
            _ => handed.push(name.clone()),
        }
    }
    text.line(format!("let call = session.library.{0}.ok_or_else(|| session.missing(\"{0}\"))?;", call.name));
    let safety = "// SAFETY: the prototype is the spec's; handles are live objects, pointers are to places of the right size here.";
    let made = call.arguments.iter().find(|argument| matches!(argument.role, Role::New { returned: true, .. }));
    match made {
        Some(made) => {
            handed.push("&raw mut errcode".to_string());
            text.line("let mut errcode = 0;");
            text.line(safety);
            text.line(format!("{}_made = unsafe {{ call({}) }};", made.name, handed.join(", ")));
            text.line("ok(errcode)?;");
        }
        None => {
            text.line(safety);
            text.line(format!("ok(unsafe {{ call({}) }})?;", handed.join(", ")));
        }
    }
    for argument in call.arguments.iter().filter(|argument| matches!(argument.role, Role::Output { .. })) {
        text.line(format!("{}.finish();", argument.name));
    }
    text.line("Ok(())");
}

/// Prints what the tables of objects learn from the outcome.
fn settle(spec: &Spec, call: &Call, text: &mut Text) {
    for argument in &call.arguments {
        let name = &argument.name;
        match &argument.role {
            Role::New { kind, parent, optional, .. } => {
                let parent = parent.map_or("Handle::NULL", |place| &call.arguments[place].name);
                let kind = &spec.kinds[*kind].name;
                let made = format!("session.made(from, kind::{kind}, {name}, {parent}, status, {name}_made)?;");
                if_wanted(*optional, name, &made, text);
            }
            Role::Handle { kind, ends: true } => {
                text.line(format!("session.ended(from, kind::{}, {name}, status);", spec.kinds[*kind].name));
            }
            _ => {}
        }
    }
}

/// Prints the reply.
fn answer(spec: &Spec, call: &Call, text: &mut Text) {
    let mut lines = Vec::new();
    for argument in &call.arguments {
        let name = &argument.name;
        match &argument.role {
            Role::Out { element, .. } => lines.push(format!("{}?;", encode::put(spec, Side::Host, element, name))),
            Role::OutRun => lines.push(format!("w.run(&{name})?;")),
            Role::Output { .. } => {
                lines.push(format!("if let Buffer::Reply {{ .. }} = {name} {{"));
                // Both sides know the length.
                lines.push(format!("w.raw(&{name}_reply)?;"));
                lines.push("}".to_string());
            }
            _ => {}
        }
    }
    if lines.is_empty() {
        text.line("session.finish(from, status, reply, |_| Ok(()))");
        return;
    }
    text.line("session.finish(from, status, reply, |w| {");
    if !call.always {
        text.line("if status == 0 {");
    }
    lines.iter().for_each(|line| text.line(line));
    if !call.always {
        text.line("}");
    }
    text.line("Ok(())");
    text.line("})");
}
