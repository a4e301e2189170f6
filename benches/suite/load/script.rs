//! What the scripted agent is told to play.

/// Deltas of one block: a block keeps 256 KiB of text, so the numbers run on through many.
const BLOCK: u64 = 10_000;

/// So many blocks, each of so many deltas of 20 bytes.
pub(crate) fn blocks(blocks: u64, deltas: u64) -> String {
    format!(r#"[{{"repeat":{blocks},"steps":[{{"count":{deltas}}}]}}]"#)
}

/// So many numbered deltas of 20 bytes, which so many blocks take in turn, so that none can merge with another.
pub(crate) fn interleaved(deltas: u64, blocks: u64) -> String {
    format!(r#"[{{"count":{deltas},"blocks":{blocks}}}]"#)
}

/// So many numbered deltas, in blocks.
pub(crate) fn numbers(deltas: u64, size: usize, pace_us: u64) -> String {
    let stamp = if size == super::count::STAMPED { r#","stamp":true"# } else { "" };
    let count = |deltas| format!(r#"{{"count":{deltas},"size":{size},"pace_us":{pace_us}{stamp}}}"#);
    let mut steps = Vec::new();
    if deltas >= BLOCK {
        steps.push(format!(r#"{{"repeat":{},"steps":[{}]}}"#, deltas / BLOCK, count(BLOCK)));
    }
    if !deltas.is_multiple_of(BLOCK) {
        steps.push(count(deltas % BLOCK));
    }
    format!("[{}]", steps.join(","))
}
