//! The captures of the real CLIs, and what they stored of their own.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

/// What one process printed.
pub(crate) struct Capture {
    /// Version and scenario, for example "claude-code-2.1.329/bash".
    pub(crate) name: String,
    /// Where its files are.
    pub(crate) folder: PathBuf,
    pub(crate) stdout: Vec<u8>,
}

/// All captures of Claude Code, by name; the last one is made by hand, of what no real one shows.
pub(crate) fn all() -> &'static [Capture] {
    static ALL: LazyLock<Vec<Capture>> = LazyLock::new(read);
    &ALL
}

fn read() -> Vec<Capture> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures");
    let mut captures = Vec::new();
    for version in folders(&root).into_iter().filter(|path| path.to_string_lossy().contains("claude-code-")) {
        for folder in folders(&version) {
            let name = format!("{}/{}", base(&version), base(&folder));
            for (file, suffix) in [("stdout.jsonl", ""), ("duplex.jsonl", ""), ("resume.stdout.jsonl", "-resume")] {
                let Ok(bytes) = fs::read(folder.join(file)) else { continue };
                let stdout = if file == "duplex.jsonl" { printed(&bytes) } else { bytes };
                captures.push(Capture { name: format!("{name}{suffix}"), folder: folder.clone(), stdout });
            }
        }
    }
    assert!(captures.len() >= 53, "a capture is missing: {}", captures.len());
    let made = include_bytes!("made.jsonl").to_vec();
    captures.push(Capture { name: "made".to_owned(), folder: PathBuf::new(), stdout: made });
    captures
}

/// The capture of that name.
pub(crate) fn named(name: &str) -> &'static Capture {
    all().iter().find(|capture| capture.name == name).unwrap_or_else(|| panic!("no capture {name}"))
}

/// The lines that the process printed, as it printed them.
fn printed(duplex: &[u8]) -> Vec<u8> {
    #[derive(Deserialize)]
    struct Line<'a> {
        dir: &'a str,
        #[serde(borrow)]
        msg: Option<&'a RawValue>,
    }
    let mut stdout = Vec::new();
    for line in std::str::from_utf8(duplex).unwrap().lines() {
        let line: Line<'_> = serde_json::from_str(line).unwrap();
        if let Some(msg) = line.msg.filter(|_| line.dir == "stdout") {
            stdout.extend_from_slice(msg.get().as_bytes());
            stdout.push(b'\n');
        }
    }
    stdout
}

/// Ids of the blocks that the CLI stored, with their conversation, by the rules of the id table:
/// text and thinking are `message.id/index`, a tool call its id, a result `result:` and that, a subagent `sub:` and the call
/// that spawned it, anything else its uuid.
pub(crate) fn stored(folder: &Path) -> BTreeMap<String, String> {
    let (mut ids, mut spawned) = (BTreeMap::<String, String>::new(), Vec::new());
    for file in files(&folder.join("projects")) {
        if file.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        let meta = file.with_extension("meta.json");
        let conversation = match fs::read_to_string(meta) {
            Ok(meta) => {
                let id = serde_json::from_str::<Value>(&meta).unwrap()["toolUseId"].as_str().unwrap().to_owned();
                spawned.push(id.clone());
                id
            }
            Err(_) => "main".to_owned(),
        };
        let mut ordinals: BTreeMap<String, u64> = BTreeMap::new();
        for line in fs::read_to_string(&file).unwrap().lines() {
            for id in stored_line(&serde_json::from_str(line).unwrap(), &mut ordinals) {
                ids.insert(id, conversation.clone());
            }
        }
    }
    for id in spawned {
        let parent = ids.get(&id).unwrap_or_else(|| panic!("no call {id} is stored")).clone();
        ids.insert(format!("sub:{id}"), parent);
    }
    ids
}

fn stored_line(line: &Value, ordinals: &mut BTreeMap<String, u64>) -> Vec<String> {
    let uuid = line["uuid"].as_str().unwrap_or_default().to_owned();
    let message = &line["message"];
    let blocks = message["content"].as_array().cloned().unwrap_or_default();
    match line["type"].as_str() {
        Some("assistant") if line["isApiErrorMessage"] == true => vec![uuid],
        Some("assistant") => {
            let id = message["id"].as_str().unwrap();
            let ordinal = ordinals.entry(id.to_owned()).or_default();
            let mut ids = Vec::new();
            for block in &blocks {
                let index = line["apiBlockIndex"].as_u64().unwrap_or(*ordinal);
                *ordinal += 1;
                match block["type"].as_str().unwrap() {
                    "tool_use" | "server_tool_use" | "mcp_tool_use" => {
                        ids.push(block["id"].as_str().unwrap().to_owned());
                    }
                    // What the provider noted for itself is no block of ours.
                    "container_upload" => {}
                    sort if sort.ends_with("_tool_result") => {
                        ids.push(format!("result:{}", block["tool_use_id"].as_str().unwrap()));
                    }
                    _ => ids.push(format!("{id}/{index}")),
                }
            }
            ids
        }
        Some("user") => {
            let results: Vec<String> = blocks
                .iter()
                .filter_map(|block| block["tool_use_id"].as_str())
                .map(|id| format!("result:{id}"))
                .collect();
            if results.is_empty() { vec![uuid] } else { results }
        }
        _ => Vec::new(),
    }
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.is_dir());
    paths.sort();
    paths
}

fn files(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn base(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}
