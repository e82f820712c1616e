//! Methods: calls with a message, functions of the host's library, local functions.

use super::attributes::{self, CallWords};
use super::{Meaning, Read, types};
use crate::model::{Argument, Call, DriverFunction, Element, Local, Named, Number, Role, Spec};
use std::collections::HashMap;
use syn::spanned::Spanned;

type Names = HashMap<String, Meaning>;

/// Reads one method.
pub(super) fn method(method: &syn::TraitItemFn, spec: &mut Spec, names: &Names) -> Read<()> {
    let name = Named { name: method.sig.ident.to_string(), span: method.sig.ident.span() };
    let attributes = attributes::named(&method.attrs)?;
    let is = |word: &str| attributes.iter().any(|(name, _)| name == word);
    if !is("driver") && !matches!(method.sig.output, syn::ReturnType::Default) {
        return Err((method.sig.output.span(), "a call returns its status and nothing else".to_string()));
    }
    match (is("call"), is("driver"), is("local")) {
        (true, false, false) => spec.calls.push(call(method, name, &attributes, spec, names)?),
        (false, true, false) => spec.driver.push(driver(method, name, &attributes, names)?),
        (false, false, true) => {
            if let Some((word, attribute)) = attributes.iter().find(|(word, _)| word != "local" && word != "since") {
                return Err((attribute.span(), format!("a local function has no #[{word}]")));
            }
            spec.locals.push(Local { docs: attributes::docs(&method.attrs), named: name });
        }
        _ => return Err((name.span, format!("`{}` is one of #[call(…)], #[driver] and #[local]", name.name))),
    }
    Ok(())
}

fn call(
    method: &syn::TraitItemFn,
    name: Named,
    attributes: &[(String, &syn::Attribute)],
    spec: &Spec,
    names: &Names,
) -> Read<Call> {
    let mut call = Call {
        docs: attributes::docs(&method.attrs),
        name: name.name,
        span: name.span,
        number: 0,
        waits: false,
        either: false,
        blocks: false,
        guest_by_hand: false,
        host_by_hand: false,
        no_context: spec.no_context,
        disturbs: false,
        always: false,
        since: 0,
        ptsz: false,
        ptds: None,
        aliases: Vec::new(),
        arguments: Vec::new(),
    };
    for (word, attribute) in attributes {
        call_attribute(&mut call, word, attribute, spec)?;
    }
    // A message of ours is no call of the API: nothing is exported for it.
    call.guest_by_hand |= spec.guest_by_hand || call.name.starts_with(crate::OWN_PREFIX);
    let inputs = inputs(method)?;
    for input in &inputs {
        let role = role(input, &inputs, names)?;
        call.arguments.push(Argument { name: input.name.clone(), span: input.span, role });
    }
    lengths(&mut call)?;
    whole_call(&call, spec)?;
    Ok(call)
}

fn call_attribute(call: &mut Call, word: &str, attribute: &syn::Attribute, spec: &Spec) -> Read<()> {
    match word {
        "call" => {
            let words: CallWords = attributes::arguments(attribute)?;
            call.number = attributes::number(&words.number)?;
            if call.number == 0 {
                return Err((words.number.span(), "number 0 is padding".to_string()));
            }
            let (first, last) = spec.numbers;
            if !(first..=last).contains(&call.number) {
                let what = format!("number {} is not among the file's own, {first} to {last}", call.number);
                return Err((words.number.span(), what));
            }
            if let Some(other) = spec.calls.iter().find(|other| other.number == call.number) {
                return Err((words.number.span(), format!("number {} is taken by `{}`", call.number, other.name)));
            }
            (call.waits, call.either) = match words.mode.to_string().as_str() {
                "wait" => (true, false),
                "post" => (false, false),
                "either" => (false, true),
                _ => return Err((words.mode.span(), "a call is `post`, `wait` or `either`".to_string())),
            };
        }
        "by_hand" => {
            let side = attributes::ident(attribute)?;
            (call.guest_by_hand, call.host_by_hand) = match side.name.as_str() {
                "guest" => (true, false),
                "host" => (false, true),
                "both" => (true, true),
                _ => return Err((side.span, "by_hand is for `guest`, `host` or `both`".to_string())),
            };
        }
        "since" => call.since = attributes::number(&attributes::arguments::<syn::LitInt>(attribute)?)?,
        "alias" => call.aliases.push(attributes::ident(attribute)?),
        "ptds" => call.ptds = Some(attributes::ident(attribute)?),
        "block" | "no_context" | "disturbs" | "always" | "ptsz" => {
            attributes::bare(attribute)?;
            match word {
                "block" => call.blocks = true,
                "no_context" => call.no_context = true,
                "disturbs" => call.disturbs = true,
                "always" => call.always = true,
                _ => call.ptsz = true,
            }
        }
        _ => return Err((attribute.span(), format!("a call has no #[{word}]"))),
    }
    Ok(())
}

/// Names that the printed text has for itself, where arguments are in scope.
const RESERVED: [&str; 17] = [
    "c", "w", "r", "call", "errcode", "status", "session", "from", "reply", "sent", "bound", "fill", "waits", "answer",
    "ok", "text", "elements",
];

/// An argument as it stands in the file.
struct Input<'a> {
    name: String,
    span: proc_macro2::Span,
    ty: &'a syn::Type,
    attributes: Vec<(String, &'a syn::Attribute)>,
}

impl Input<'_> {
    fn attribute(&self, word: &str) -> Option<&syn::Attribute> {
        self.attributes.iter().find(|(name, _)| name == word).map(|(_, attribute)| *attribute)
    }

    /// Only these attributes stand here.
    fn only(&self, words: &[&str]) -> Read<()> {
        match self.attributes.iter().find(|(name, _)| !words.contains(&name.as_str())) {
            Some((word, attribute)) => {
                Err((attribute.span(), format!("#[{word}] does not go with `{}`'s type", self.name)))
            }
            None => Ok(()),
        }
    }
}

fn inputs(method: &syn::TraitItemFn) -> Read<Vec<Input<'_>>> {
    let mut found: Vec<Input<'_>> = Vec::new();
    for argument in &method.sig.inputs {
        let syn::FnArg::Typed(typed) = argument else {
            return Err((argument.span(), "a call has no self".to_string()));
        };
        let syn::Pat::Ident(pattern) = &*typed.pat else {
            return Err((typed.pat.span(), "an argument is a name and a type".to_string()));
        };
        let name = pattern.ident.to_string();
        if found.iter().any(|other| other.name == name) {
            return Err((pattern.span(), format!("two arguments are called `{name}`")));
        }
        if RESERVED.contains(&name.as_str()) {
            return Err((
                pattern.span(),
                format!("`{name}` is a name of the printed text: call the argument otherwise"),
            ));
        }
        let attributes = attributes::named(&typed.attrs)?;
        found.push(Input { name, span: pattern.ident.span(), ty: &typed.ty, attributes });
    }
    Ok(found)
}

fn role(input: &Input<'_>, inputs: &[Input<'_>], names: &Names) -> Read<Role> {
    match input.ty {
        syn::Type::Reference(reference) => reference_role(input, reference, inputs, names),
        syn::Type::Ptr(pointer) => {
            Err((pointer.span(), "write what is pointed to: `&T`, `&[T]`, `&CStr` or #[out] with the type".to_string()))
        }
        _ => value_role(input, inputs, names),
    }
}

fn reference_role(
    input: &Input<'_>,
    reference: &syn::TypeReference,
    inputs: &[Input<'_>],
    names: &Names,
) -> Read<Role> {
    if let syn::Type::Slice(slice) = &*reference.elem {
        return slice_role(input, reference, slice, inputs, names);
    }
    if input.attribute("out").is_some() {
        return Err((input.ty.span(), "an output names what is written, without `&`".to_string()));
    }
    if types::type_name(&reference.elem).as_deref() == Some("CStr") {
        input.only(&["cstr"])?;
        return Ok(Role::Text);
    }
    input.only(&[])?;
    match types::element(&reference.elem, names)? {
        Element::Struct(place) => Ok(Role::Struct(place)),
        Element::Number { .. } => Err((input.ty.span(), "a number travels by value, without `&`".to_string())),
    }
}

fn slice_role(
    input: &Input<'_>,
    reference: &syn::TypeReference,
    slice: &syn::TypeSlice,
    inputs: &[Input<'_>],
    names: &Names,
) -> Read<Role> {
    let of_kind = types::type_name(&slice.elem).and_then(|name| names.get(&name).copied());
    if let Some(Meaning::Kind(kind)) = of_kind {
        input.only(&["len"])?;
        if reference.mutability.is_some() {
            return Err((input.ty.span(), "handles travel to the host only".to_string()));
        }
        return Ok(Role::Handles { kind, length: length(input, inputs, names)? });
    }
    let element = types::element(&slice.elem, names)?;
    if let Some(run) = input.attribute("run") {
        input.only(&["run"])?;
        let align = match run.meta {
            syn::Meta::Path(_) => 1,
            _ => attributes::number(&attributes::arguments::<syn::LitInt>(run)?)?,
        };
        let is_bytes = matches!(element, Element::Number { number: Number::U8, .. });
        if !is_bytes || reference.mutability.is_some() || (align != 1 && align != 16) {
            return Err((input.ty.span(), "a run is `&[u8]`, aligned to 1 or 16".to_string()));
        }
        return Ok(Role::Run { align });
    }
    let length = length(input, inputs, names)?;
    input.only(&["len", "out"])?;
    match (reference.mutability.is_some(), input.attribute("out").is_some()) {
        (true, true) => Ok(Role::Output { element, length }),
        (false, false) => Ok(Role::Input { element, length }),
        (true, false) => Err((input.ty.span(), "bytes that come back are marked #[out]".to_string())),
        (false, true) => Err((input.ty.span(), "#[out] bytes are `&mut [T]`".to_string())),
    }
}

/// The argument that `#[len]` names, by place.
fn length(input: &Input<'_>, inputs: &[Input<'_>], names: &Names) -> Read<usize> {
    let len = input.attribute("len").ok_or((input.span, format!("`{}` needs #[len(argument)]", input.name)))?;
    let named = attributes::ident(len)?;
    let length = inputs
        .iter()
        .position(|other| other.name == named.name)
        .ok_or((named.span, format!("len names `{}`, which is no argument", named.name)))?;
    if types::number(inputs[length].ty, names).is_none() || inputs[length].attribute("out").is_some() {
        return Err((named.span, format!("len names `{}`, which is no number from the caller", named.name)));
    }
    Ok(length)
}

fn value_role(input: &Input<'_>, inputs: &[Input<'_>], names: &Names) -> Read<Role> {
    if let Some(out) = input.attribute("out") {
        input.only(&["out", "optional"])?;
        attributes::bare(out)?;
        if is_byte_vec(input.ty) {
            return Ok(Role::OutRun);
        }
        let element = types::element(input.ty, names)?;
        return Ok(Role::Out { element, optional: input.attribute("optional").is_some() });
    }
    let name = types::type_name(input.ty).ok_or((input.ty.span(), "this type cannot travel".to_string()))?;
    if name == "Handle" {
        input.only(&[])?;
        return Ok(Role::AnyHandle);
    }
    if let Some(Meaning::Kind(kind)) = names.get(&name).copied() {
        return handle_role(input, kind, inputs);
    }
    let Some((name, number)) = types::number(input.ty, names) else {
        return Err(match names.get(&name) {
            Some(_) => (input.ty.span(), format!("a struct travels by reference: `&{name}`")),
            None => (input.ty.span(), format!("unknown type `{name}`")),
        });
    };
    input.only(&["device", "aligned"])?;
    let aligned = match input.attribute("aligned") {
        None => 1,
        Some(attribute) if input.attribute("device").is_none() => {
            return Err((attribute.span(), "#[aligned] goes with #[device]".to_string()));
        }
        Some(attribute) => {
            let number: syn::LitInt = attributes::arguments(attribute)?;
            match attributes::number::<u64>(&number)? {
                0 => return Err((number.span(), "an address is a multiple of 1 or more".to_string())),
                aligned => aligned,
            }
        }
    };
    let device = match input.attribute("device") {
        None => None,
        Some(attribute) => {
            if number != Number::U64 {
                return Err((attribute.span(), "a device address is a u64".to_string()));
            }
            let expr: syn::Expr = attributes::arguments(attribute)?;
            Some(attributes::expression(&expr, &|name| number_named(name, inputs, names))?)
        }
    };
    Ok(Role::Number { name, number, device, aligned })
}

/// How a number among the arguments is printed in an expression.
fn number_named(name: &str, inputs: &[Input<'_>], names: &Names) -> Option<String> {
    let found = inputs.iter().find(|other| other.name == name)?;
    types::number(found.ty, names).map(|_| format!("{name} as u64"))
}

fn handle_role(input: &Input<'_>, kind: usize, inputs: &[Input<'_>]) -> Read<Role> {
    input.only(&["new", "free", "optional", "returned"])?;
    let is = |word| input.attribute(word).is_some();
    match (input.attribute("new"), input.attribute("free")) {
        (Some(attribute), Some(_)) => Err((attribute.span(), "a handle is made or freed, not both".to_string())),
        (Some(attribute), None) => {
            let parent = match attribute.meta {
                syn::Meta::Path(_) => None,
                _ => {
                    let named = attributes::ident(attribute)?;
                    let place = inputs.iter().position(|other| other.name == named.name);
                    Some(place.ok_or((named.span, format!("new names `{}`, which is no argument", named.name)))?)
                }
            };
            Ok(Role::New { kind, parent, optional: is("optional"), returned: is("returned") })
        }
        (None, _) if is("optional") || is("returned") => {
            Err((input.span, format!("`{}` is no handle that is made", input.name)))
        }
        (None, free) => Ok(Role::Handle { kind, ends: free.is_some() }),
    }
}

fn is_byte_vec(ty: &syn::Type) -> bool {
    let syn::Type::Path(path) = ty else { return false };
    let Some(last) = path.path.segments.last() else { return false };
    let syn::PathArguments::AngleBracketed(inner) = &last.arguments else { return false };
    last.ident == "Vec"
        && matches!(inner.args.first(), Some(syn::GenericArgument::Type(ty)) if types::type_name(ty).as_deref() == Some("u8"))
}

/// Marks the arguments that only say how long a buffer is.
fn lengths(call: &mut Call) -> Read<()> {
    for place in 0..call.arguments.len() {
        let role = &call.arguments[place].role;
        let (Role::Input { length, .. } | Role::Output { length, .. } | Role::Handles { length, .. }) = *role else {
            continue;
        };
        let counted = &mut call.arguments[length];
        match &counted.role {
            Role::Number { name, number, device: None, .. } => {
                counted.role = Role::Length { name: name.clone(), number: *number, of: place };
            }
            Role::Length { .. } => {}
            _ => return Err((counted.span, format!("`{}` is a length and cannot be more", counted.name))),
        }
    }
    Ok(())
}

fn whole_call(call: &Call, spec: &Spec) -> Read<()> {
    let both = call.guest_by_hand && call.host_by_hand;
    let mut reply = 0;
    for argument in &call.arguments {
        let refuse = |what: &str| Err((argument.span, format!("`{}`: {what}", argument.name)));
        match &argument.role {
            Role::Out { .. } | Role::OutRun | Role::Output { .. } if !call.waits => {
                return refuse("a posted call brings nothing back");
            }
            Role::AnyHandle | Role::Run { .. } | Role::OutRun if !both => {
                return refuse("this type is for calls that are #[by_hand(both)]");
            }
            Role::New { optional, returned, .. } if (*optional || *returned) && !call.guest_by_hand => {
                return refuse("#[optional] and #[returned] objects are for calls that are #[by_hand(guest)]");
            }
            Role::Handles { .. } if !call.guest_by_hand => {
                return refuse("handles in a list are for calls that are #[by_hand(guest)]");
            }
            Role::New { parent: Some(place), .. }
                if !matches!(call.arguments[*place].role, Role::Handle { .. } | Role::AnyHandle) =>
            {
                return refuse("an object ends with another object, so #[new] names a handle");
            }
            Role::Out { element, .. } => reply += spec.measure(element).0 + 8,
            _ => {}
        }
    }
    if reply > 4032 {
        return Err((call.span, format!("the reply of `{}` does not fit a slot", call.name)));
    }
    if !call.waits && (call.always || call.blocks) {
        let what = if call.always { "#[always] is about a reply" } else { "#[block] calls are waited for" };
        return Err((call.span, format!("`{}` is posted; {what}", call.name)));
    }
    Ok(())
}

fn driver(
    method: &syn::TraitItemFn,
    name: Named,
    attributes: &[(String, &syn::Attribute)],
    names: &Names,
) -> Read<DriverFunction> {
    let mut function =
        DriverFunction { name: name.name, span: name.span, arguments: vec![], result: None, aliases: vec![] };
    if let syn::ReturnType::Type(_, ty) = &method.sig.output {
        function.result = Some(c_type(ty, names)?);
    }
    for (word, attribute) in attributes {
        match word.as_str() {
            "driver" => attributes::bare(attribute)?,
            "alias" => function.aliases.push(attributes::ident(attribute)?),
            "since" => {}
            _ => return Err((attribute.span(), format!("a driver function has no #[{word}]"))),
        }
    }
    for input in inputs(method)? {
        input.only(&[])?;
        function.arguments.push((input.name.clone(), c_type(input.ty, names)?));
    }
    Ok(function)
}

/// A C type as printed: numbers, structs, `c_void`, `c_char`, handles as pointers, and pointers to those.
fn c_type(ty: &syn::Type, names: &Names) -> Read<String> {
    if let syn::Type::Ptr(pointer) = ty {
        let word = if pointer.mutability.is_some() { "mut" } else { "const" };
        return Ok(format!("*{word} {}", c_type(&pointer.elem, names)?));
    }
    let name = types::type_name(ty).ok_or((ty.span(), "this is no C type".to_string()))?;
    match names.get(&name) {
        Some(Meaning::Kind(_)) => Ok("*mut c_void".to_string()),
        Some(_) => Ok(name),
        None if Number::by_name(&name).is_some() || name == "c_void" || name == "c_char" => Ok(name),
        None => Err((ty.span(), format!("unknown type `{name}`"))),
    }
}
