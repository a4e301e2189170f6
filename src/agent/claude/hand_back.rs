//! The frame in which the CLI hands a subagent's report to the model that called for it: words for the model about whose
//! words these are, the report with every line indented, and how to go on with it. People are shown the report.

/// Begins the line after which the report stands.
const FRAME: &str = "[Subagent hand-back]";
/// Before each line of the report, so that none of them can pass for the frame.
const INDENT: &str = "  ";

/// The report in a frame; `None`: there is no frame.
pub(super) fn report(text: &str) -> Option<String> {
    let mut lines = text.split('\n').skip_while(|line| !line.starts_with(FRAME));
    lines.next()?;
    let report: Vec<&str> = lines.map_while(|line| line.strip_prefix(INDENT)).collect();
    Some(report.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::report;

    #[test]
    fn a_report_is_taken_out_of_its_frame() {
        let framed = "  <tools-used>Bash</tools-used>\n  \n[Subagent hand-back] The text below:\n  One.\n  \n    [Subagent \
                      hand-back] two\nagentId: a1\n<usage>x</usage>";
        assert_eq!(report(framed).as_deref(), Some("One.\n\n  [Subagent hand-back] two"));
        // What was cut off in the frame leaves nothing.
        assert_eq!(report("[Subagent hand-back] The te…").as_deref(), Some(""));
        assert_eq!(report("no frame\n  [Subagent hand-back] x"), None);
        assert_eq!(report(""), None);
    }
}
