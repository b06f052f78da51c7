//! Steps as lines of text: what was looked at, whether it was in order, and what was found.

use std::fmt;

/// Whether a step was in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    Ok,
    No,
    /// Something to know, or a step that was not taken.
    Note,
}

/// The steps of one decision in their order. Its `Display` is aligned plain text.
#[derive(Debug, Clone, Default)]
pub struct Report(Vec<(Mark, String, String)>);

impl Report {
    pub fn ok(&mut self, step: impl Into<String>, text: impl Into<String>) {
        self.add(Mark::Ok, step, text);
    }

    pub fn no(&mut self, step: impl Into<String>, text: impl Into<String>) {
        self.add(Mark::No, step, text);
    }

    pub fn note(&mut self, step: impl Into<String>, text: impl Into<String>) {
        self.add(Mark::Note, step, text);
    }

    pub fn add(&mut self, mark: Mark, step: impl Into<String>, text: impl Into<String>) {
        self.0.push((mark, step.into(), text.into()));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|(_, step, _)| step.chars().count()).max().unwrap_or(0);
        let mut before = "";
        for (mark, step, text) in &self.0 {
            let mark = match mark {
                Mark::Ok => "ok",
                Mark::No => "no",
                Mark::Note => "",
            };
            // What goes on about the same step needs no name again.
            let shown = if step == before { "" } else { step };
            let line = format!("{mark:<2}  {shown:<width$}  {text}");
            writeln!(f, "{}", printable(line.trim_end()))?;
            before = step;
        }
        Ok(())
    }
}

/// What a token or a configuration says may hold what a terminal would obey.
fn printable(line: &str) -> String {
    let escaped = |character: char| {
        let escape = character.is_control().then(|| character.escape_default());
        escape.map_or_else(|| character.to_string(), |escape| escape.to_string())
    };
    line.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_aligned() {
        let mut report = Report::default();
        report.ok("route", "/*");
        report.note("route", "/a: the host is another");
        report.no("verification", "\u{1b}[2J");
        let expected = "\
ok  route         /*
                  /a: the host is another
no  verification  \\u{1b}[2J
";
        assert_eq!(report.to_string(), expected);
    }
}
