//! Profiles: what is taken, and every bound from both sides.

use agent_runtime::{
    domain::{
        Failure, Isolation, KeptSecret, MAX_PROFILE_BYTES, McpTransport, Principal, Profile, ProfileField, ProfileId,
        Reason, Secret as Kept, SecretPlace, Skill, SlashCommand, SubagentDefinition, Timestamp,
    },
    grpc::validate::{self, MAX_PROMPT, MAX_SECRET},
    proto::{
        self, AgentProfile, Command, FileContent, McpBundle, McpHttp, McpServer, McpStdio, Secret,
        mcp_server::Transport, secret::Source,
    },
    session::{NewProfile, UpdateProfile},
};

use super::{fields, refused};

fn plain() -> AgentProfile {
    AgentProfile { name: "reviewer".into(), ..Default::default() }
}

fn create(profile: AgentProfile) -> Result<NewProfile, Failure> {
    validate::create_profile(proto::CreateProfileRequest { profile: Some(profile), request_id: String::new() })
}

fn update(profile: AgentProfile, mask: &[&str]) -> Result<UpdateProfile, Failure> {
    let paths = mask.iter().map(|path| (*path).to_owned()).collect();
    let update_mask = Some(prost_types::FieldMask { paths });
    let profile = Some(AgentProfile { profile_id: "prof_1".into(), ..profile });
    validate::update_profile(proto::UpdateProfileRequest { profile, update_mask, request_id: String::new() })
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn file(path: &str, size: usize) -> FileContent {
    FileContent { path: path.into(), content: vec![b'x'; size].into(), mode: 0 }
}

fn value(text: &str) -> Secret {
    Secret { source: Some(Source::Value(text.into())) }
}

fn reference(name: &str) -> Secret {
    Secret { source: Some(Source::Ref(name.into())) }
}

#[test]
fn texts_are_bounded_in_bytes() {
    let long = |bytes| "\u{e4}".repeat(bytes / 2);
    let taken = create(AgentProfile { system_prompt: long(MAX_PROMPT), memory_file: "m".into(), ..plain() }).unwrap();
    assert_eq!((taken.setup.system_prompt.len(), taken.setup.memory_file.as_str()), (MAX_PROMPT, "m"));
    for text in [long(MAX_PROMPT + 2), "a\0b".into()] {
        refused(create(AgentProfile { system_prompt: text.clone(), ..plain() }), "profile.system_prompt");
        refused(create(AgentProfile { memory_file: text, ..plain() }), "profile.memory_file");
    }
}

#[test]
fn tools_are_names() {
    let tools = |names: &[&str]| create(AgentProfile { tools: texts(names), ..plain() });
    let longest = "T".repeat(128);
    assert_eq!(tools(&["Bash", "mcp__git-hub__get_1", &longest]).unwrap().setup.tools.len(), 3);
    for name in ["", "Bash(git:*)", "Bash Edit", "Bash,Edit", "--tools", "*", "\u{e4}", &"T".repeat(129)] {
        refused(tools(&["Read", name]), "profile.tools[1]");
    }
    refused(tools(&["Read", "Bash", "Read"]), "profile.tools[2]");
    let many: Vec<String> = (0..257).map(|at| format!("t{at}")).collect();
    refused(create(AgentProfile { tools: many, ..plain() }), "profile.tools");
}

#[test]
fn a_skill_is_taken_whole() {
    let one = || proto::Skill {
        name: "pdf-forms".into(),
        description: "When there is a form".into(),
        body: "Fill it in.".into(),
        supporting_files: vec![FileContent { mode: 0o755, ..file("scripts/fill.py", 3) }, file("README.md", 0)],
        npm_dependencies: texts(&["pdf-lib@1"]),
        pip_dependencies: texts(&["pypdf>=4"]),
    };
    let skills = |skills: Vec<proto::Skill>| create(AgentProfile { skills, ..plain() });
    let taken = skills(vec![one()]).unwrap().setup.skills;
    let [Skill { name, description, body, supporting_files, npm_dependencies, pip_dependencies }] = &taken[..] else {
        panic!("{taken:?}")
    };
    assert_eq!(
        (name.as_str(), description.as_str(), body.as_str()),
        ("pdf-forms", "When there is a form", "Fill it in.")
    );
    assert_eq!((npm_dependencies, pip_dependencies), (&texts(&["pdf-lib@1"]), &texts(&["pypdf>=4"])));
    let files: Vec<_> =
        supporting_files.iter().map(|file| (file.path.as_str(), file.content.len(), file.mode)).collect();
    assert_eq!(files, [("scripts/fill.py", 3, 0o755), ("README.md", 0, 0o644)]);

    let refuses = |field: &str, skill| refused(skills(vec![one(), skill]), &format!("profile.skills[1].{field}"));
    let other = || proto::Skill { name: "other".into(), ..one() };
    for name in ["", "Upper", "a_b", "-a", "a b", "../a", &"a".repeat(65), "pdf-forms"] {
        refuses("name", proto::Skill { name: name.into(), ..one() });
    }
    for description in ["", "a\0", &"d".repeat(1025)] {
        refuses("description", proto::Skill { description: description.into(), ..other() });
    }
    for body in ["", "a\0", &"b".repeat(MAX_PROMPT + 1)] {
        refuses("body", proto::Skill { body: body.into(), ..other() });
    }
    refuses("npm_dependencies[0]", proto::Skill { npm_dependencies: texts(&["--global"]), ..other() });
    refuses("pip_dependencies[0]", proto::Skill { pip_dependencies: texts(&["-r"]), ..other() });
    refuses("supporting_files[0].path", proto::Skill { supporting_files: vec![file("SKILL.md", 1)], ..other() });
    refuses("supporting_files[1].path", proto::Skill { supporting_files: vec![file("a", 1), file("a", 1)], ..other() });
    refuses("supporting_files", proto::Skill { supporting_files: vec![file("a", 1), file("a/b", 1)], ..other() });
    let path = skills(vec![proto::Skill { supporting_files: vec![file("../a", 1)], ..one() }]).unwrap_err();
    assert_eq!(
        (path.reason, fields(&path)),
        (Reason::WorkspacePath, vec!["profile.skills[0].supporting_files[0].path"])
    );
    let many = (0..65).map(|at| proto::Skill { name: format!("s{at}"), ..one() }).collect();
    refused(skills(many), "profile.skills");
}

#[test]
fn a_subagent_is_taken_whole() {
    let one = || proto::SubagentDefinition {
        name: "Code_reviewer-2".into(),
        description: "After each change".into(),
        prompt: "Review.".into(),
        model: "haiku".into(),
        tools: texts(&["Read", "Grep"]),
    };
    let subagents = |subagents| create(AgentProfile { subagents, ..plain() });
    let expected = SubagentDefinition {
        name: "Code_reviewer-2".into(),
        description: "After each change".into(),
        prompt: "Review.".into(),
        model: "haiku".into(),
        tools: texts(&["Read", "Grep"]),
    };
    assert_eq!(subagents(vec![one()]).unwrap().setup.subagents, [expected]);
    let refuses = |field: &str, wire| refused(subagents(vec![one(), wire]), &format!("profile.subagents[1].{field}"));
    let other = || proto::SubagentDefinition { name: "other".into(), ..one() };
    for name in ["", "a b", "a/b", "a.md", "-a", &"a".repeat(65), "Code_reviewer-2"] {
        refuses("name", proto::SubagentDefinition { name: name.into(), ..one() });
    }
    refuses("description", proto::SubagentDefinition { description: String::new(), ..other() });
    refuses("description", proto::SubagentDefinition { description: "d".repeat(1025), ..other() });
    refuses("prompt", proto::SubagentDefinition { prompt: String::new(), ..other() });
    refuses("prompt", proto::SubagentDefinition { prompt: "p".repeat(MAX_PROMPT + 1), ..other() });
    refuses("model", proto::SubagentDefinition { model: "-m".into(), ..other() });
    refuses("model", proto::SubagentDefinition { model: "m".repeat(129), ..other() });
    refuses("tools[1]", proto::SubagentDefinition { tools: texts(&["Read", "a b"]), ..other() });
    refused(subagents(vec![other(); 65]).map_err(only_first), "profile.subagents");
}

/// Of several that are refused for one reason and more, the first.
fn only_first(mut failure: Failure) -> Failure {
    failure.violations.truncate(1);
    failure
}

#[test]
fn a_command_is_taken_whole() {
    let command = |name: &str, prompt: &str| Command { name: name.into(), prompt: prompt.into() };
    let commands = |commands| create(AgentProfile { commands, ..plain() });
    let taken = commands(vec![command("fix_it", "Fix $ARGUMENTS")]).unwrap().setup.commands;
    assert_eq!(taken, [SlashCommand { name: "fix_it".into(), prompt: "Fix $ARGUMENTS".into() }]);
    for name in ["", "/fix", "a b", "a:b", "a/b", "-a", &"a".repeat(65), "fix"] {
        refused(commands(vec![command("fix", "p"), command(name, "p")]), "profile.commands[1].name");
    }
    for prompt in ["", "a\0", &"p".repeat(MAX_PROMPT + 1)] {
        refused(commands(vec![command("fix", prompt)]), "profile.commands[0].prompt");
    }
    refused(commands(vec![command("fix", "p"); 65]).map_err(only_first), "profile.commands");
}

fn server(name: &str, transport: Transport) -> McpServer {
    McpServer { name: name.into(), description: "d".into(), transport: Some(transport) }
}

fn stdio() -> McpStdio {
    let environment = [("TOKEN".to_owned(), value("v"))].into();
    McpStdio { command: "node".into(), args: texts(&["server.js", ""]), environment }
}

fn http() -> McpHttp {
    let headers = [("Authorization".to_owned(), reference("GITHUB"))].into();
    McpHttp { url: "https://mcp.example/a".into(), headers, sse: true }
}

fn bundle() -> McpBundle {
    let project_path = "/srv/tools".into();
    McpBundle { project_path, install_command: "npm ci".into(), start_command: "node server.js".into() }
}

#[test]
fn a_tool_server_is_reached_in_one_way() {
    let servers = |mcp_servers| create(AgentProfile { mcp_servers, ..plain() });
    let taken = servers(vec![
        server("a", Transport::Stdio(stdio())),
        server("B_2-c", Transport::Http(http())),
        server("c", Transport::Bundle(bundle())),
    ]);
    let taken = taken.unwrap().setup.mcp_servers;
    assert_eq!(taken.iter().map(|server| server.name.as_str()).collect::<Vec<_>>(), ["a", "B_2-c", "c"]);
    assert_eq!(taken[0].description, "d");
    let transports: Vec<McpTransport> = taken.into_iter().map(|server| server.transport).collect();
    let expected = [
        McpTransport::Stdio {
            command: "node".into(),
            args: texts(&["server.js", ""]),
            environment: [("TOKEN".to_owned(), Kept::Value("v".into()))].into(),
        },
        McpTransport::Http {
            url: "https://mcp.example/a".into(),
            headers: [("Authorization".to_owned(), Kept::Ref("GITHUB".into()))].into(),
            sse: true,
        },
        McpTransport::Bundle {
            project_path: "/srv/tools".into(),
            install_command: "npm ci".into(),
            start_command: "node server.js".into(),
        },
    ];
    assert_eq!(transports, expected);

    let refuses = |field: &str, server| refused(servers(vec![server]), &format!("profile.mcp_servers[0]{field}"));
    refuses("", McpServer { name: "a".into(), ..Default::default() });
    for name in ["", "a b", "a.b", "-a", &"a".repeat(65)] {
        refuses(".name", server(name, Transport::Stdio(stdio())));
    }
    refuses(".description", McpServer { description: "d".repeat(1001), ..server("a", Transport::Stdio(stdio())) });
    let both = vec![server("a", Transport::Stdio(stdio())), server("a", Transport::Http(http()))];
    refused(servers(both), "profile.mcp_servers[1].name");
    for command in ["", "a\0", &"c".repeat(4097)] {
        refuses(".stdio.command", server("a", Transport::Stdio(McpStdio { command: command.into(), ..stdio() })));
    }
    for arg in ["a\0".to_owned(), "a".repeat(4097)] {
        let stdio = McpStdio { args: vec!["x".into(), arg], ..stdio() };
        refuses(".stdio.args[1]", server("a", Transport::Stdio(stdio)));
    }
    refuses(".stdio.args", server("a", Transport::Stdio(McpStdio { args: vec![String::new(); 257], ..stdio() })));
    let environment = [("a-b".to_owned(), value("v"))].into();
    let stdio = McpStdio { environment, ..stdio() };
    refuses(".stdio.environment[\"a-b\"]", server("a", Transport::Stdio(stdio)));
    for url in ["", "ftp://h/a", "https://u:p@h/a"] {
        refuses(".http.url", server("a", Transport::Http(McpHttp { url: url.into(), ..http() })));
    }
    let headers = |headers: &[(&str, Secret)]| {
        let headers = headers.iter().map(|(name, secret)| ((*name).to_owned(), secret.clone())).collect();
        server("a", Transport::Http(McpHttp { headers, ..http() }))
    };
    for name in ["", "a b", "a:b", "\u{e4}"] {
        refuses(&format!(".http.headers[{name:?}]"), headers(&[(name, value("v"))]));
    }
    refuses(".http.headers[\"accept\"]", headers(&[("Accept", value("v")), ("accept", value("v"))]));
    for split in ["a\r\nb", "a\0", "a\u{7f}"] {
        refuses(".http.headers[\"a\"].value", headers(&[("a", value(split))]));
    }
    for path in ["", "tools", "/srv/../etc", &format!("/{}", "a".repeat(4096))] {
        let bundle = McpBundle { project_path: path.into(), ..bundle() };
        refuses(".bundle.project_path", server("a", Transport::Bundle(bundle)));
    }
    for command in ["", "a\0", &"c".repeat(4097)] {
        let bundle = McpBundle { start_command: command.into(), ..bundle() };
        refuses(".bundle.start_command", server("a", Transport::Bundle(bundle)));
    }
    let long = McpBundle { install_command: "c".repeat(4097), ..bundle() };
    refuses(".bundle.install_command", server("a", Transport::Bundle(long)));
    assert!(
        servers(vec![server("a", Transport::Bundle(McpBundle { install_command: String::new(), ..bundle() }))]).is_ok()
    );
    let many = (0..33).map(|at| server(&format!("s{at}"), Transport::Http(http()))).collect();
    refused(servers(many), "profile.mcp_servers");
}

#[test]
fn options_and_sandbox_are_as_those_of_a_session() {
    let options = |model: &str, mode: &str| {
        let options = proto::SessionOptions { model: model.into(), permission_mode: mode.into(), ..Default::default() };
        create(AgentProfile { default_options: Some(options), ..plain() })
    };
    let taken = options("opus", "plan").unwrap().setup.default_options;
    assert_eq!((taken.model.as_str(), taken.permission_mode.as_str()), ("opus", "plan"));
    refused(options("-m", ""), "profile.default_options.model");
    refused(options("", &"m".repeat(129)), "profile.default_options.permission_mode");

    let sandbox = |provider: &str, min_isolation: i32| {
        let sandbox = proto::SandboxSpec { provider: provider.into(), min_isolation, ..Default::default() };
        create(AgentProfile { sandbox: Some(sandbox), ..plain() })
    };
    let taken = sandbox("local", proto::Isolation::Namespace.into()).unwrap().setup.sandbox.unwrap();
    assert_eq!((taken.provider.as_str(), taken.min_isolation), ("local", Some(Isolation::Namespace)));
    refused(sandbox(&"p".repeat(129), 0), "profile.sandbox.provider");
    refused(sandbox("", 9), "profile.sandbox.min_isolation");
    assert_eq!(create(plain()).unwrap().setup.sandbox, None);
}

#[test]
fn secrets_have_names_and_bounds() {
    let environment = |secrets: &[(&str, Secret)]| {
        let environment = secrets.iter().map(|(name, secret)| ((*name).to_owned(), secret.clone())).collect();
        create(AgentProfile { environment, ..plain() })
    };
    let longest = "v".repeat(MAX_SECRET);
    let taken = environment(&[
        ("_A1", value(&longest)),
        ("EMPTY", value("")),
        ("LINES", value("a\nb")),
        ("R", reference("_x")),
    ]);
    let taken = taken.unwrap().setup.environment;
    assert_eq!(taken["_A1"], Kept::Value(longest.clone()));
    assert_eq!(taken["EMPTY"], Kept::Value(String::new()));
    assert_eq!(taken["LINES"], Kept::Value("a\nb".into()));
    assert_eq!(taken["R"], Kept::Ref("_x".into()));
    assert!(!format!("{taken:?}").contains("vvvv"), "no value is shown");
    for name in ["", "1A", "a-b", "A=B", "a b", "\u{e4}", &"A".repeat(129)] {
        refused(environment(&[(name, value("v"))]), &format!("profile.environment[{name:?}]"));
    }
    for secret in [format!("{longest}v"), "canary\0".into()] {
        let failure = environment(&[("A", value(&secret))]).unwrap_err();
        assert_eq!(fields(&failure), ["profile.environment[\"A\"].value"]);
        assert!(!format!("{failure:?}").contains(&secret[..6]), "{failure:?}");
    }
    for to in ["", "a-b", "1"] {
        refused(environment(&[("A", reference(to))]), "profile.environment[\"A\"].ref");
    }
    // Nothing can be kept before anything is stored.
    refused(environment(&[("A", Secret::default())]), "profile.environment[\"A\"]");
    let many: Vec<String> = (0..257).map(|at| format!("V{at}")).collect();
    let many: Vec<(&str, Secret)> = many.iter().map(|name| (name.as_str(), value("v"))).collect();
    refused(environment(&many), "profile.environment");
}

#[test]
fn packages_are_those_of_the_registries() {
    let npm = |packages: &[&str]| create(AgentProfile { npm_dependencies: texts(packages), ..plain() });
    let pip = |packages: &[&str]| create(AgentProfile { pip_dependencies: texts(packages), ..plain() });
    let packages = ["typescript@5.6", "@scope/name@^1.2"];
    assert_eq!(npm(&packages).unwrap().setup.npm_dependencies, packages);
    let packages = ["requests[socks]>=2.31,<3", "ruff"];
    assert_eq!(pip(&packages).unwrap().setup.pip_dependencies, packages);
    for package in ["", "-g", "a b", "a\n", "https://h/a.tgz", "./a", &"a".repeat(257)] {
        refused(npm(&["ok", package]), "profile.npm_dependencies[1]");
        refused(pip(&["ok", package]), "profile.pip_dependencies[1]");
    }
    refused(npm(&["a"; 129]), "profile.npm_dependencies");
    refused(pip(&["a"; 129]), "profile.pip_dependencies");
}

#[test]
fn files_for_workspaces_have_paths_and_bounds() {
    let files = |files| create(AgentProfile { default_workspace_files: files, ..plain() });
    let taken = files(vec![file("docs/a.md", 5)]).unwrap().setup.default_files;
    assert_eq!((taken[0].path.as_str(), taken[0].content.len(), taken[0].mode), ("docs/a.md", 5, 0o644));
    let refuses = |field: &str, wire| refused(files(wire), &format!("profile.default_workspace_files{field}"));
    refuses("[0].mode", vec![FileContent { mode: 0o1000, ..file("a", 1) }]);
    refuses("[1].path", vec![file("a", 1), file("a", 1)]);
    refuses("", vec![file("a", 1), file("a/b", 1)]);
    refuses("", (0..101).map(|at| file(&at.to_string(), 0)).collect());
    let escaping = files(vec![file("../a", 1)]).unwrap_err();
    assert_eq!(escaping.reason, Reason::WorkspacePath);
    let large = files(vec![file("a", (1 << 20) + 1)]).unwrap_err();
    assert_eq!(
        (large.reason, large.metadata["field"].as_str()),
        (Reason::MessageTooLarge, "profile.default_workspace_files[0].content")
    );
    let all = files((0..4).map(|at| file(&at.to_string(), 1 << 20)).collect()).unwrap_err();
    assert_eq!(
        (all.reason, all.metadata["field"].as_str()),
        (Reason::MessageTooLarge, "profile.default_workspace_files")
    );
}

#[test]
fn an_update_says_which_and_what() {
    let profile = AgentProfile { system_prompt: "p".into(), etag: "e".into(), ..plain() };
    let taken = update(profile.clone(), &["system_prompt"]).unwrap();
    assert_eq!((taken.profile_id.as_str(), taken.etag.as_deref()), ("prof_1", Some("e")));
    assert_eq!(taken.change.fields, [ProfileField::SystemPrompt].into());
    assert_eq!((taken.change.setup.system_prompt.as_str(), taken.change.name.as_str()), ("p", ""));
    assert_eq!(update(plain(), &["name"]).unwrap().etag, None);
    refused(update(AgentProfile::default(), &["name"]), "profile.name");
    refused(update(AgentProfile { etag: "e".repeat(129), ..plain() }, &["name"]), "profile.etag");
    let request = |profile, paths: &[&str]| proto::UpdateProfileRequest {
        profile,
        update_mask: Some(prost_types::FieldMask { paths: texts(paths) }),
        request_id: String::new(),
    };
    refused(validate::update_profile(request(Some(plain()), &["name"])), "profile.profile_id");
    let neither = validate::update_profile(request(None, &["description"])).unwrap_err();
    assert_eq!(fields(&neither), ["profile", "profile.profile_id"]);

    // What a read returned can be sent back: only what the mask names is looked at.
    let read = AgentProfile {
        revision: 3,
        created_by: Some(proto::Principal::default()),
        create_time: Some(prost_types::Timestamp::default()),
        update_time: Some(prost_types::Timestamp::default()),
        tools: texts(&["no tool"]),
        ..profile
    };
    assert_eq!(update(read.clone(), &["system_prompt"]).unwrap(), taken);
    refused(update(read, &["tools"]), "profile.tools[0]");
}

#[test]
fn a_mask_names_whole_fields() {
    for (mask, fields) in [
        (vec!["systemPrompt", "tools"], vec![ProfileField::SystemPrompt, ProfileField::Tools]),
        (vec!["system_prompt", "systemPrompt"], vec![ProfileField::SystemPrompt]),
        (vec!["defaultWorkspaceFiles"], vec![ProfileField::DefaultWorkspaceFiles]),
    ] {
        assert_eq!(update(plain(), &mask).unwrap().change.fields, fields.into_iter().collect(), "{mask:?}");
    }
    let all: Vec<&str> = ProfileField::ALL.iter().map(|field| field.as_str()).collect();
    assert_eq!(update(plain(), &all).unwrap().change.fields.len(), ProfileField::ALL.len());
    for path in ["nope", "", "*", "skills.name", "default_options.model", "SystemPrompt", "profile.name", "profileid"] {
        refused(update(plain(), &["name", path]), "update_mask");
    }
    refused(update(plain(), &[]), "update_mask");
    for path in ["profile_id", "revision", "created_by", "create_time", "update_time", "etag", "acp_command"] {
        refused(update(plain(), &[path]), &format!("profile.{path}"));
    }
    refused(update(plain(), &["createTime"]), "profile.create_time");
}

#[test]
fn secrets_to_keep_are_told_apart_by_their_place() {
    let environment = [("A".to_owned(), Secret::default()), ("B".to_owned(), value("new"))].into();
    let headers = [("X".to_owned(), Secret::default())].into();
    let mcp_servers = vec![server("hub", Transport::Http(McpHttp { headers, ..http() }))];
    let taken = update(AgentProfile { environment, mcp_servers, ..plain() }, &["environment", "mcp_servers"]).unwrap();
    assert_eq!(taken.change.setup.environment, [("B".to_owned(), Kept::Value("new".into()))].into());
    let kept = |place, name: &str, field: &str| KeptSecret { place, name: name.into(), field: field.into() };
    let expected = [
        kept(SecretPlace::McpServer("hub".into()), "X", "profile.mcp_servers[0].http.headers[\"X\"]"),
        kept(SecretPlace::Environment, "A", "profile.environment[\"A\"]"),
    ];
    assert_eq!(taken.change.keep, expected);
}

#[test]
fn a_deletion_says_which() {
    let delete = |profile_id: &str, etag: &str| {
        let (profile_id, etag) = (profile_id.into(), etag.into());
        validate::delete_profile(proto::DeleteProfileRequest { profile_id, etag, request_id: String::new() })
    };
    let taken = delete("prof_1", "e").unwrap();
    assert_eq!((taken.profile_id.as_str(), taken.etag.as_deref()), ("prof_1", Some("e")));
    assert_eq!(delete("prof_1", "").unwrap().etag, None);
    refused(delete("", ""), "profile_id");
    refused(delete("default", ""), "profile_id");
    refused(delete("prof_1", &"e".repeat(129)), "etag");
}

/// All that a profile can say, but for values of secrets, which reads do not return.
fn full() -> AgentProfile {
    let rule = proto::PermissionRule {
        rule_id: "rule_1".into(),
        tool_name: "Bash".into(),
        pattern: "git *".into(),
        effect: proto::PermissionEffect::Allow.into(),
        ..Default::default()
    };
    let secrets = || [("B".to_owned(), reference("STORED"))].into();
    AgentProfile {
        description: "reads".into(),
        agent: "claude-code".into(),
        system_prompt: "p".into(),
        memory_file: "m".into(),
        tools: texts(&["Bash"]),
        skills: vec![proto::Skill {
            name: "style".into(),
            description: "d".into(),
            body: "b".into(),
            supporting_files: vec![FileContent { mode: 0o755, ..file("a", 3) }],
            npm_dependencies: texts(&["a"]),
            pip_dependencies: texts(&["b"]),
        }],
        subagents: vec![proto::SubagentDefinition {
            name: "tester".into(),
            description: "d".into(),
            prompt: "p".into(),
            model: "m".into(),
            tools: texts(&["Read"]),
        }],
        commands: vec![Command { name: "fix".into(), prompt: "p".into() }],
        mcp_servers: vec![
            server("a", Transport::Stdio(McpStdio { environment: secrets(), ..stdio() })),
            server("b", Transport::Http(http())),
            server("c", Transport::Bundle(bundle())),
        ],
        default_options: Some(proto::SessionOptions {
            model: "m".into(),
            permission_mode: "plan".into(),
            ..Default::default()
        }),
        permission_policy: Some(proto::PermissionPolicy {
            default_effect: proto::PermissionEffect::Reject.into(),
            rules: vec![rule],
            ask_timeout: Some(prost_types::Duration { seconds: 9, nanos: 0 }),
            timeout_effect: proto::PermissionEffect::Allow.into(),
        }),
        sandbox: Some(proto::SandboxSpec {
            provider: "local".into(),
            min_isolation: proto::Isolation::Namespace.into(),
            ..Default::default()
        }),
        environment: secrets(),
        npm_dependencies: texts(&["c"]),
        pip_dependencies: texts(&["d"]),
        default_workspace_files: vec![FileContent { mode: 0o600, ..file("b", 4) }],
        ..plain()
    }
}

fn stored(new: NewProfile) -> Profile {
    let NewProfile { name, description, agent, setup, request: _ } = new;
    Profile {
        profile_id: ProfileId::new("prof_1"),
        revision: 3,
        name,
        description,
        agent,
        setup,
        created_by: Some(Principal::system()),
        create_time: Timestamp(1),
        update_time: Timestamp(2),
        etag: "e".into(),
    }
}

#[test]
fn what_was_written_is_read_but_for_values_of_secrets() {
    let read = proto::AgentProfile::from(stored(create(full()).unwrap()));
    assert_eq!((read.profile_id.as_str(), read.revision, read.etag.as_str()), ("prof_1", 3, "e"));
    assert_eq!(read.update_time, Some(prost_types::Timestamp { seconds: 0, nanos: 2000 }));
    assert!(read.created_by.is_some() && read.create_time.is_some());
    let (profile_id, etag) = (String::new(), String::new());
    let said =
        AgentProfile { profile_id, revision: 0, created_by: None, create_time: None, update_time: None, etag, ..read };
    assert_eq!(said, full());
    assert_eq!(proto::AgentProfile::from(stored(create(plain()).unwrap())).default_options, None);
}

#[test]
fn writing_back_what_was_read_changes_nothing() {
    let mut with_values = full();
    with_values.environment.insert("A".into(), value("canary"));
    let Some(Transport::Stdio(stdio)) = &mut with_values.mcp_servers[0].transport else { panic!("another transport") };
    stdio.environment.insert("A".into(), value("canary"));
    let Some(Transport::Http(http)) = &mut with_values.mcp_servers[1].transport else { panic!("another transport") };
    http.headers.insert("X".into(), value("canary"));
    let profile = stored(create(with_values).unwrap());
    let read = proto::AgentProfile::from(profile.clone());
    assert!(!format!("{read:?} {profile:?}").contains("canary"));
    let all: Vec<&str> = ProfileField::ALL.iter().map(|field| field.as_str()).collect();
    let apply = |wire: AgentProfile| update(wire, &all).unwrap().change.apply(&profile);
    assert_eq!(apply(read.clone()).unwrap(), profile);
    // A rule without its id is still that rule.
    let mut without_ids = read.clone();
    without_ids.permission_policy.as_mut().unwrap().rules[0].rule_id.clear();
    assert_eq!(apply(without_ids).unwrap(), profile);
    // Left out is removed, and what was never there cannot be kept.
    let removed =
        apply(AgentProfile { environment: [("A".into(), Secret::default())].into(), ..read.clone() }).unwrap();
    assert_eq!(removed.setup.environment.len(), 1);
    assert_eq!(removed.setup.environment["A"], profile.setup.environment["A"]);
    let environment = [("C".into(), Secret::default())].into();
    refused(apply(AgentProfile { environment, ..read.clone() }), "profile.environment[\"C\"]");
    let mut renamed = read;
    renamed.mcp_servers[1].name = "other".into();
    refused(apply(renamed), "profile.mcp_servers[1].http.headers[\"X\"]");
}

#[test]
fn a_profile_as_a_whole_has_rules_too() {
    let profile = stored(create(plain()).unwrap());
    let change = |wire: AgentProfile, mask: &[&str]| update(wire, mask).unwrap().change;
    let skill = full().skills;
    let taught = change(AgentProfile { skills: skill, ..plain() }, &["skills"]).apply(&profile).unwrap();
    let commands = vec![Command { name: "style".into(), prompt: "p".into() }];
    let same = change(AgentProfile { commands, ..plain() }, &["commands"]).apply(&taught);
    refused(same, "profile.commands[0].name");
    let prompt = |name: String| Command { name, prompt: "p".repeat(MAX_PROMPT) };
    let many = |count: usize| {
        let commands = (0..count).map(|at| prompt(format!("c{at}"))).collect();
        change(AgentProfile { commands, ..plain() }, &["commands"]).apply(&profile)
    };
    assert!(many(MAX_PROFILE_BYTES / MAX_PROMPT - 1).is_ok());
    let large = many(MAX_PROFILE_BYTES / MAX_PROMPT).unwrap_err();
    assert_eq!((large.reason, large.metadata["field"].as_str()), (Reason::MessageTooLarge, "profile"));
}
