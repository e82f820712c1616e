//! What only the whole file shows.

use super::Read;
use crate::model::{Call, Role, Spec};
use std::collections::HashMap;

/// Checks names across the file.
pub(super) fn check(spec: &Spec) -> Read<()> {
    let mut seen = HashMap::new();
    for named in spec.exported() {
        if seen.insert(named.name.clone(), ()).is_some() {
            return Err((named.span, format!("`{}` is there already", named.name)));
        }
    }
    let mut driver = HashMap::new();
    for call in spec.calls.iter().filter(|call| !call.host_by_hand) {
        driver.insert(call.name.clone(), ());
    }
    for function in &spec.driver {
        if driver.insert(function.name.clone(), ()).is_some() {
            return Err((function.span, format!("the driver function `{}` is there already", function.name)));
        }
    }
    for call in &spec.calls {
        if call.ptsz && spec.stream_of(call).is_none() {
            return Err((call.span, format!("`{}` is #[ptsz] but takes no stream", call.name)));
        }
        siblings(call, spec)?;
    }
    for name in spec.kinds.iter().map(|kind| &kind.error).chain([&spec.invalid, &spec.gone]) {
        if !spec.constants.iter().any(|constant| constant.name == *name) {
            return Err((proc_macro2::Span::call_site(), format!("the constant `{name}` is used but not there")));
        }
    }
    Ok(())
}

/// `#[ptds(sibling)]`: the sibling takes the same arguments and then a stream.
fn siblings(call: &Call, spec: &Spec) -> Read<()> {
    let Some(named) = &call.ptds else { return Ok(()) };
    let sibling = spec
        .calls
        .iter()
        .find(|other| other.name == named.name)
        .ok_or((named.span, format!("ptds names `{}`, which is no call", named.name)))?;
    let same = sibling.arguments.len() == call.arguments.len() + 1
        && spec.stream_of(sibling) == Some(call.arguments.len())
        && call.arguments.iter().zip(&sibling.arguments).all(|(a, b)| a.name == b.name);
    if call.guest_by_hand || sibling.guest_by_hand || same {
        return Ok(());
    }
    Err((named.span, format!("`{}` does not take the arguments of `{}` and then a stream", named.name, call.name)))
}

impl Spec {
    /// The argument that is the call's stream: the last handle of a kind with plain numbers, by place.
    #[must_use]
    pub fn stream_of(&self, call: &Call) -> Option<usize> {
        call.arguments.iter().rposition(|argument| match argument.role {
            Role::Handle { kind, .. } => self.kinds[kind].plain_up_to.is_some_and(|number| number > 0),
            _ => false,
        })
    }
}
