//! The plan of the house, held: which room may use which, which crates belong where, how large a file may grow, and what
//! nobody may write. Standard library only; it reads the sources as text, without comments and literals.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

/// A room and the rooms it may use. `main` is `src/main.rs`, which reaches the library as `agent_runtime`.
const ROOMS: &[(&str, &[&str])] = &[
    ("proto", &[]),
    ("modal_wire", &[]),
    ("domain", &[]),
    ("agent", &["domain"]),
    ("supervisor", &[]),
    ("workspace", &["domain"]),
    ("packages", &[]),
    ("sandbox", &["domain", "supervisor", "workspace", "modal_wire"]),
    ("store", &["domain"]),
    ("log", &["domain", "store"]),
    ("session", &["domain", "agent", "workspace", "packages", "sandbox", "store", "log"]),
    ("grpc", &["proto", "domain", "store", "log", "session"]),
    ("server", &["proto", "domain", "agent", "workspace", "packages", "sandbox", "store", "log", "session", "grpc"]),
    ("client", &["proto"]),
    ("dev", &["modal_wire"]),
    ("cli", &["proto", "client", "server", "dev", "supervisor"]),
    ("main", &["cli"]),
];

/// Single files that use one room more, and why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[(
    "src/cli/install.rs",
    "agent",
    "which version is installed, and where to, stands beside the adapter made for it",
)];

/// Families of crates, by how their names begin, and the rooms that may use them.
const CRATES: &[(&str, &[&str])] = &[
    // Modal is spoken to over gRPC, by a provider and by its emulator.
    ("tonic", &["proto", "modal_wire", "grpc", "server", "client", "sandbox", "dev"]),
    ("sqlx", &["store"]),
    ("clap", &["cli", "dev", "main"]),
];

/// What nobody writes, and what to do instead.
const BANNED: &[(&str, &str)] = &[
    ("todo!", "finish it, or refuse the request by name"),
    ("unimplemented!", "finish it, or refuse the request by name"),
    ("#[ignore", "a test runs, or says SKIPPED and why"),
    ("unsafe ", "there is no need for it here"),
];

const LONGEST_FILE: usize = 600;
const LARGEST_MEDIAN: usize = 150;

#[derive(Debug, PartialEq, Eq)]
struct Fault {
    file: PathBuf,
    line: usize,
    what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.what)
    }
}

#[test]
fn the_house_keeps_its_plan() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = sources(root, "src");
    assert!(sources.len() > 10, "the sources were not found");
    let mut faults: Vec<Fault> = sources.iter().flat_map(|(file, text)| check_room(file, text)).collect();
    for folder in ["src", "tests", "benches"] {
        faults.extend(self::sources(root, folder).iter().flat_map(|(file, text)| check_file(file, text)));
    }
    faults.extend(check_median(&sources));
    for (file, room, _) in EXCEPTIONS {
        let text = fs::read_to_string(root.join(file)).unwrap_or_default();
        assert!(text.contains(room), "{file} does not use {room} any more: take it off EXCEPTIONS");
    }
    let list: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), list.join("\n"));
}

#[test]
fn the_plan_has_no_circle() {
    let plan: BTreeMap<&str, &[&str]> = ROOMS.iter().copied().collect();
    // Like building a house: a room stands when all it rests on stands.
    let mut built: Vec<&str> = Vec::new();
    while built.len() < plan.len() {
        let before = built.len();
        for (room, uses) in &plan {
            if !built.contains(room) && uses.iter().all(|used| built.contains(used)) {
                built.push(room);
            }
        }
        assert!(built.len() > before, "a circle among all rooms but {built:?}");
    }
}

/// Every rule finds the source that breaks it, at its line, and lets the same thing pass where it is allowed.
#[test]
fn the_checker_sees_every_fault() {
    let room = |file: &str, text: &str| check_room(Path::new(file), text);
    let lines = |faults: Vec<Fault>| faults.into_iter().map(|fault| fault.line).collect::<Vec<_>>();
    let at = |file: &str, text: &str| lines(room(file, text));

    let bad = "//! Doc.\nuse crate::store::Store;\n";
    assert_eq!(at("src/agent/bad.rs", bad), [2]);
    assert!(room("src/agent/bad.rs", bad)[0].to_string().starts_with("src/agent/bad.rs:2: agent must not use store"));
    assert_eq!(at("src/log/good.rs", bad), []);
    assert_eq!(at("src/agent/bad.rs", "use crate::{\n    domain::{Block, BlockId},\n    sandbox::Sandbox,\n};"), [3]);
    assert_eq!(at("src/agent/bad.rs", "use crate::{domain, store as other};"), [1]);
    assert_eq!(at("src/agent/bad.rs", "fn f() {\n    let x = crate :: store::open();\n}"), [2]);
    assert_eq!(at("src/agent/bad.rs", "fn f() { g(crate::store::open()) }"), [1]);
    assert_eq!(at("src/agent/mod.rs", "use super::store::Store;"), [1]);
    assert_eq!(at("src/agent/claude/deep.rs", "use super::super::super::store::Store;"), [1]);
    assert_eq!(at("src/agent/claude/deep.rs", "use super::store::OwnModule;"), []);
    assert_eq!(at("src/main.rs", "fn main() { agent_runtime::server::start() }"), [1]);
    assert_eq!(at("src/main.rs", "fn main() { agent_runtime::cli::main() }"), []);
    assert_eq!(
        at("src/domain/bad.rs", "// use crate::store\n/* crate::store */ const A: &str = \"crate::store::x\";"),
        []
    );
    assert_eq!(at("src/domain/bad.rs", "const A: &str = r#\"crate::store \" \"#;\nuse crate::store::A;"), [2]);
    assert_eq!(at("src/unheard/of.rs", "fn f() {}"), [1]);

    assert_eq!(at("src/domain/bad.rs", "\nuse tonic::Status;"), [2]);
    assert_eq!(at("src/domain/bad.rs", "use tonic_types::StatusExt as _;"), [1]);
    assert_eq!(at("src/grpc/good.rs", "use tonic::Status;"), []);
    assert_eq!(at("src/session/bad.rs", "fn f(pool: sqlx::SqlitePool) {}"), [1]);
    assert_eq!(at("src/server/bad.rs", "#[derive(clap::Args)]\nstruct A;"), [1]);

    let file = |text: &str| lines(check_file(Path::new("src/x.rs"), text));
    assert_eq!(file("//! Doc.\nfn f() {\n    todo!()\n}"), [3]);
    assert_eq!(file("//! Doc.\nfn f() { unimplemented!(\"later\") }"), [2]);
    assert_eq!(file("//! Doc.\n#[test]\n#[ignore = \"slow\"]\nfn f() {}"), [3]);
    assert_eq!(file("//! Doc.\nunsafe fn f() {}"), [2]);
    assert_eq!(file("//! Doc.\nfn f() { println!(\"todo! unsafe {}\", 'x'); } // todo!"), []);
    assert_eq!(file("use std::fs;"), [1], "no module doc");
    let long = |lines: usize| format!("//! Doc.\n{}", "//\n".repeat(lines - 1));
    assert_eq!(file(&long(LONGEST_FILE)), []);
    assert_eq!(file(&long(LONGEST_FILE + 1)), [LONGEST_FILE + 1]);

    let house = |sizes: &[usize]| {
        let files: Vec<_> = sizes.iter().map(|lines| (PathBuf::from("src/x.rs"), long(*lines))).collect();
        check_median(&files).is_some()
    };
    assert!(!house(&[10, LARGEST_MEDIAN, 500]));
    assert!(house(&[10, LARGEST_MEDIAN + 1, 500]));
}

/// Arrows between rooms, and crates out of place.
fn check_room(file: &Path, text: &str) -> Vec<Fault> {
    let fault = |line: usize, what: String| Fault { file: file.to_owned(), line, what };
    let parts: Vec<String> = file.iter().skip(1).map(|part| part.to_string_lossy().into_owned()).collect();
    let room = parts[0].trim_end_matches(".rs");
    if room == "lib" {
        return Vec::new();
    }
    let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
        return vec![fault(1, format!("{room} is no room of the plan; see ROOMS in tests/layers.rs"))];
    };
    // `src/agent/mod.rs` and `src/agent.rs` are one step below the root, `src/agent/claude/deep.rs` is three.
    let depth = parts.len() - usize::from(parts.last().is_some_and(|name| name == "mod.rs"));
    let tokens = tokens(&blank(text));
    let mut faults = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| tokens[before].text.as_str());
        if before != Some("::") {
            for (family, rooms) in CRATES {
                let next = tokens.get(index + 1).map(|token| token.text.as_str());
                if (token.text == *family || token.text.starts_with(&format!("{family}_")))
                    && (next == Some("::") || before == Some("use"))
                    && !rooms.contains(&room)
                {
                    faults.push(fault(token.line, format!("{} is not used in {room}", token.text)));
                }
            }
        }
        let from_root = match token.text.as_str() {
            "crate" | "agent_runtime" => before != Some("::"),
            "super" => {
                let chain = tokens[..=index].iter().rev().step_by(2).take_while(|token| token.text == "super").count();
                chain == depth
            }
            _ => false,
        };
        if from_root {
            for used in reached(&tokens[index + 1..]) {
                let is_room = ROOMS.iter().any(|(name, _)| *name == used.text);
                let excepted = EXCEPTIONS.iter().any(|(one, other, _)| file == Path::new(one) && used.text == *other);
                if is_room && used.text != room && !allowed.contains(&used.text.as_str()) && !excepted {
                    faults.push(fault(used.line, format!("{room} must not use {} (tests/layers.rs)", used.text)));
                }
            }
        }
    }
    faults
}

/// The first names of the paths that follow a root: one, or those of a braced list.
fn reached(tokens: &[Token]) -> Vec<&Token> {
    match tokens {
        [colons, open, rest @ ..] if colons.text == "::" && open.text == "{" => {
            let (mut depth, mut names, mut at_start) = (1, Vec::new(), true);
            for token in rest {
                match token.text.as_str() {
                    "{" => depth += 1,
                    "}" => depth -= 1,
                    "," if depth == 1 => {
                        at_start = true;
                        continue;
                    }
                    _ if depth == 1 && at_start => names.push(token),
                    _ => {}
                }
                at_start = false;
                if depth == 0 {
                    break;
                }
            }
            names
        }
        [colons, name, ..] if colons.text == "::" => vec![name],
        _ => Vec::new(),
    }
}

/// Size, module doc, and what nobody writes.
fn check_file(file: &Path, text: &str) -> Vec<Fault> {
    let fault = |line: usize, what: String| Fault { file: file.to_owned(), line, what };
    let mut faults = Vec::new();
    if !text.trim_start().starts_with("//!") {
        faults.push(fault(1, "a file begins with what it is for (//!)".to_owned()));
    }
    let lines = text.lines().count();
    if lines > LONGEST_FILE {
        faults.push(fault(lines, format!("{lines} lines; at most {LONGEST_FILE}: one job a file")));
    }
    for (index, line) in blank(text).lines().enumerate() {
        for (banned, instead) in BANNED {
            if line.contains(banned) {
                faults.push(fault(index + 1, format!("{}: {instead}", banned.trim_end())));
            }
        }
    }
    faults
}

fn check_median(sources: &[(PathBuf, String)]) -> Option<Fault> {
    let mut sizes: Vec<usize> = sources.iter().map(|(_, text)| text.lines().count()).collect();
    sizes.sort_unstable();
    let median = sizes[sizes.len() / 2];
    (median > LARGEST_MEDIAN).then(|| Fault {
        file: PathBuf::from("src"),
        line: 0,
        what: format!("half of the files have more than {median} lines; at most {LARGEST_MEDIAN}"),
    })
}

#[derive(Debug)]
struct Token {
    text: String,
    line: usize,
}

/// Names, `::`, and single other characters.
fn tokens(code: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut line = 1;
    let mut in_name = false;
    for (at, character) in code.char_indices() {
        let part_of_name = character.is_alphanumeric() || character == '_';
        if part_of_name && in_name {
            tokens.last_mut().expect("a name was begun").text.push(character);
        } else if character == ':' && code[at + 1..].starts_with(':') {
            tokens.push(Token { text: "::".to_owned(), line });
        } else if !(character.is_whitespace() || character == ':' && code[..at].ends_with(':')) {
            tokens.push(Token { text: character.to_string(), line });
        }
        in_name = part_of_name;
        line += usize::from(character == '\n');
    }
    tokens
}

/// The source with comments and literals blanked out; every line stays where it is.
fn blank(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => string(rest),
            'r' if !out.ends_with(is_name) => raw_string(rest),
            '\'' => character(rest),
            _ => 0,
        };
        if skipped == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            out.extend(rest[..skipped].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[skipped..];
        }
    }
    out
}

fn is_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Length of a raw string; 0 where none begins.
fn raw_string(text: &str) -> usize {
    let hashes = text[1..].chars().take_while(|c| *c == '#').count();
    if !text[1 + hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let from = 2 + hashes;
    text[from..].find(&end).map_or(text.len(), |at| from + at + end.len())
}

/// Length of a character literal; 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut inner = text.chars().skip(1);
    match (inner.next(), inner.next()) {
        (Some('\\'), Some(_)) => text[3..].find('\'').map_or(0, |at| at + 4),
        (Some(character), Some('\'')) => 2 + character.len_utf8(),
        _ => 0,
    }
}

/// The Rust files below a folder of the project, with their path in the project.
fn sources(root: &Path, folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("sources are text");
                found.push((path.strip_prefix(root).expect("it is below the root").to_owned(), text));
            }
        }
    }
    found.sort();
    found
}
