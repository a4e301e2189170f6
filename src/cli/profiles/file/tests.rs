//! Files of profiles: what they say, what is shown again, and what is refused.

use std::{fs, path::PathBuf};

use super::{Beside, parse};
use crate::{cli::profiles::show::as_yaml, proto::AgentProfile};

fn nowhere() -> Beside {
    Beside::new(PathBuf::from("/nonexistent"))
}

const FULL: &str = r##"
name: reviewer
description: Reads what others wrote
agent: claude-code
systemPrompt: |
  Be kind.
  Be brief: "yes" is an answer.
tools: [Read, Grep]
skills:
  - name: style
    description: When code is reviewed
    body: "# Style\n\n- short\n"
    supportingFiles:
      - path: examples/a.md
        contentText: "äöü\n"
      - path: logo.png
        content: iVBORw==
        mode: 384
subagents:
  - {name: tester, description: After changes, prompt: Test it., model: haiku, tools: [Bash]}
commands:
  - name: fix
    prompt: Fix $ARGUMENTS
mcpServers:
  - name: hub
    http:
      url: https://mcp.example/a
      headers:
        Authorization: {ref: HUB}
  - name: local
    stdio: {command: node, args: ["server.js", "--port", "0"], environment: {TOKEN: {value: "1"}}}
default_options: {model: opus, permissionMode: plan}
permissionPolicy:
  defaultEffect: PERMISSION_EFFECT_REJECT
  askTimeout: 90s
  rules: [{toolName: Bash, pattern: "git *", effect: PERMISSION_EFFECT_ALLOW}]
sandbox: {minIsolation: ISOLATION_NAMESPACE}
environment:
  KEPT:
  GIVEN: {value: "no"}
npmDependencies: ["typescript@5.6"]
defaultWorkspaceFiles: [{path: a.txt, contentText: hello}]
"##;

#[test]
fn yaml_says_a_whole_profile() {
    let profile = parse(FULL, &nowhere()).unwrap();
    assert_eq!(profile.system_prompt, "Be kind.\nBe brief: \"yes\" is an answer.\n");
    assert_eq!(profile.skills[0].body, "# Style\n\n- short\n");
    assert_eq!(profile.skills[0].supporting_files[0].content, "äöü\n".as_bytes());
    assert_eq!(profile.skills[0].supporting_files[1].content, [0x89, b'P', b'N', b'G'].as_slice());
    assert_eq!(profile.default_options.as_ref().unwrap().permission_mode, "plan");
    assert_eq!(profile.environment["KEPT"].source, None);
    assert!(profile.environment["GIVEN"].source.is_some());
    assert_eq!(profile.permission_policy.as_ref().unwrap().ask_timeout.unwrap().seconds, 90);
}

#[test]
fn what_is_shown_says_the_same_again() {
    let read = AgentProfile {
        profile_id: "prof_1".into(),
        revision: 7,
        etag: "e".into(),
        memory_file: "no\n\n  indented\ntrue\t\n\nend  \n\n".into(),
        description: "null".into(),
        ..parse(FULL, &nowhere()).unwrap()
    };
    let yaml = as_yaml(read.clone()).unwrap();
    assert!(yaml.starts_with("# reviewer (prof_1), revision 7\n"), "{yaml}");
    assert!(yaml.contains("contentText: hello"), "{yaml}");
    let again = parse(&yaml, &nowhere()).unwrap();
    let expected = AgentProfile { profile_id: String::new(), revision: 0, etag: String::new(), ..read };
    assert_eq!(again, expected, "{yaml}");
}

#[test]
fn json_says_the_same_as_yaml() {
    let text = r#"{"name":"\ud83e\udd80","systemPrompt":"a\/b","tools":["Bash"]}"#;
    let profile = parse(text, &nowhere()).unwrap();
    assert_eq!((profile.name.as_str(), profile.system_prompt.as_str()), ("\u{1f980}", "a/b"));
}

#[test]
fn what_means_nothing_is_refused_with_its_place() {
    for (text, place) in [
        ("nmae: a", "nmae: unknown name"),
        ("skills: [{name: a}, {name: b, contents: c}]", "skills[1].contents: unknown name"),
        ("environment: {A: {valeu: x}}", "environment.A.valeu: unknown name"),
        ("mcpServers: [{name: a, stdio: {command: c, cwd: /}}]", "mcpServers[0].stdio.cwd: unknown name"),
        ("tools: Bash", "tools: must be a list"),
        ("tools: [1]", "tools[0]: must be text, not a number"),
        ("name: true", "name: must be text, not a yes or no"),
        ("environment: [A]", "environment: must be a list of names"),
        ("environment: {A: x}", "environment.A: must be a list of names"),
        ("- a", "the file: must be a list of names"),
        ("systemPrompt: a\nsystem_prompt: b", "systemPrompt is said twice"),
        ("toolsFrom: a", "toolsFrom: unknown name"),
        ("systemPromptText: a", "systemPromptText: unknown name"),
        ("nameFromEnv: HOME", "nameFromEnv: unknown name"),
        ("name: a\nname: b", "not YAML"),
        ("name: [", "not YAML"),
        ("{\"name\": }", "not JSON"),
        ("sandbox: {minIsolation: STRONG}", "STRONG"),
        ("environment: {A: {valueFromEnv: NO_SUCH_VARIABLE_HERE}}", "environment.A.valueFromEnv: the variable"),
    ] {
        let fault = parse(text, &nowhere()).expect_err(text);
        assert!(fault.contains(place), "{text}: {fault}");
    }
}

#[test]
fn what_lies_beside_the_file_is_brought_in() {
    let outside = tempfile::tempdir().unwrap();
    let folder = outside.path().join("profile");
    fs::create_dir_all(folder.join("skill")).unwrap();
    fs::write(outside.path().join("secret"), "s").unwrap();
    fs::write(folder.join("prompt.md"), "Be kind.\n").unwrap();
    fs::write(folder.join("skill/a.bin"), [0xff, 0x00]).unwrap();
    std::os::unix::fs::symlink("../secret", folder.join("link")).unwrap();
    let beside = || Beside::new(folder.clone());
    let text = "systemPromptFrom: prompt.md\nmemoryFileFrom: ./prompt.md\n\
                defaultWorkspaceFiles: [{path: a, contentFrom: skill/a.bin}]\n\
                environment: {A: {valueFrom: prompt.md}}";
    let profile = parse(text, &beside()).unwrap();
    assert_eq!((profile.system_prompt.as_str(), profile.memory_file.as_str()), ("Be kind.\n", "Be kind.\n"));
    assert_eq!(profile.default_workspace_files[0].content, [0xff, 0x00].as_slice());
    for (text, why) in [
        ("systemPromptFrom: ../secret", "below the folder"),
        ("systemPromptFrom: /etc/hostname", "below the folder"),
        ("systemPromptFrom: link", "a link out of"),
        ("systemPromptFrom: none.md", "cannot read none.md"),
        ("systemPromptFrom: skill/a.bin", "holds no text"),
        ("systemPromptFrom: prompt.md\nsystemPrompt: x", "said twice"),
        ("systemPromptFrom: 1", "must be text"),
    ] {
        let fault = parse(text, &beside()).expect_err(text);
        assert!(fault.contains(why), "{text}: {fault}");
    }
}
