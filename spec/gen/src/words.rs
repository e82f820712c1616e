//! Text with indentation.

/// Printed text, line by line.
#[derive(Default)]
pub(crate) struct Text {
    out: String,
    depth: usize,
}

impl Text {
    /// Adds a line. A line that ends with an opening bracket deepens what follows; one that begins with a closing bracket ends
    /// that.
    pub(crate) fn line(&mut self, line: impl AsRef<str>) {
        let line = line.as_ref();
        if line.is_empty() {
            self.out.push('\n');
            return;
        }
        if line.starts_with(['}', ')', ']']) {
            self.depth = self.depth.saturating_sub(1);
        }
        for _ in 0..self.depth {
            self.out.push_str("    ");
        }
        self.out.push_str(line);
        self.out.push('\n');
        if line.ends_with(['{', '(', '[']) {
            self.depth += 1;
        }
    }

    /// Adds documentation as the spec has it.
    pub(crate) fn docs(&mut self, docs: &[String]) {
        for doc in docs {
            // Not by `line`: what a sentence ends with says nothing about depth.
            let line = format!("{}///{doc}", "    ".repeat(self.depth));
            self.out.push_str(line.trim_end());
            self.out.push('\n');
        }
    }

    /// The whole text.
    pub(crate) fn finish(self) -> String {
        self.out
    }
}
