//! The kinds of handles as constants: guest and host are printed the same, for both judge a handle by them.

use crate::model::Spec;
use crate::words::Text;

/// Prints the module `kind` and `MAX_KIND`. `statuses` is where the statuses of the API are named on that side.
pub(crate) fn constants(spec: &Spec, statuses: &str, text: &mut Text) {
    text.line("pub mod kind {");
    text.line("use super::Kind;");
    for kind in &spec.kinds {
        text.docs(&kind.docs);
        text.line(format!(
            "pub const {0}: Kind = Kind {{ number: {1}, name: \"{0}\", error: {5}::{2}, plain_up_to: {3:?}, in_context: {4} }};",
            kind.name, kind.number, kind.error, kind.plain_up_to, kind.in_context, statuses
        ));
    }
    text.line("}");
    text.line("");
    text.line("/// Largest number of a kind.");
    let most = spec.kinds.iter().map(|kind| kind.number).max().unwrap_or(0);
    text.line(format!("pub const MAX_KIND: u8 = {most};"));
    text.line("");
}
