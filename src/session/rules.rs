//! Standing answers: those that "always" answers left in the session, and those of its profile's policy.

use super::{pending::Pending, redact, waiting::mint};
use crate::{
    agent::{self, Ask, Covers},
    domain::{
        Agent, Failure, InputOutcome, InputResolution, Kind, PermissionEffect, PermissionOption, PermissionPolicy,
        PermissionRule, Principal, Reason,
    },
};

/// Bytes of the longest pattern that an answer leaves.
const LONGEST_PATTERN: usize = 4096;

/// What rules say of a call.
#[derive(Debug, PartialEq, Eq)]
struct Verdict<'a> {
    effect: PermissionEffect,
    /// `None`: no rule, but the policy's default.
    rule: Option<&'a PermissionRule>,
}

/// A call that rules judge.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    /// As the agent makes it. It may name secrets, and none of it is recorded.
    pub(super) given: &'a Ask,
    /// The same without them.
    pub(super) shown: &'a Ask,
}

/// The session's rules come first, and of each place the most recent decides. One that may forbid a call, or nobody knows,
/// leaves it to be asked about. A profile's rules are about the call itself: what stands for a secret in what is recorded is
/// nothing that they could name. Those of the session were left by what was recorded.
fn verdict<'a>(
    agent: Agent,
    session: &'a [PermissionRule],
    policy: &'a PermissionPolicy,
    Call { given, shown }: Call<'_>,
) -> Verdict<'a> {
    let session = session.iter().rev().map(|rule| (rule, agent::covers_shown(agent, rule, given, shown)));
    let profile = policy.rules.iter().rev().map(|rule| (rule, agent::covers(agent, rule, given)));
    for (rule, covers) in session.chain(profile) {
        match (covers, rule.effect) {
            (Covers::Yes, effect) => return Verdict { effect, rule: Some(rule) },
            (Covers::Unclear, PermissionEffect::Ask | PermissionEffect::Reject) => {
                return Verdict { effect: PermissionEffect::Ask, rule: Some(rule) };
            }
            (Covers::Unclear, PermissionEffect::Allow) | (Covers::No, _) => {}
        }
    }
    Verdict { effect: policy.default_effect.unwrap_or(PermissionEffect::Ask), rule: None }
}

impl Pending {
    /// The agent asks for the sake of rules, and none is about this call: it runs as all does that the agent does not ask
    /// about.
    pub(super) fn is_unruled(&self, policy: &PermissionPolicy, call: Call<'_>) -> bool {
        let state = self.state();
        let of = |agent| verdict(agent, &state.permission_rules, policy, call);
        call.given.only_by_rule && of(state.session.agent).rule.is_none()
    }

    /// How a request ends that is answered without asking anybody; `None`: somebody is asked.
    pub(super) fn ruled(&self, policy: &PermissionPolicy, call: Call<'_>) -> Option<InputResolution> {
        let state = self.state();
        let Verdict { effect, rule } = verdict(state.session.agent, &state.permission_rules, policy, call);
        let (outcome, message) = match (effect, rule) {
            (PermissionEffect::Ask, _) => return None,
            (PermissionEffect::Allow, _) => (InputOutcome::Allowed, String::new()),
            (PermissionEffect::Reject, Some(rule)) => (InputOutcome::Rejected, format!("a rule rejects {rule}")),
            (PermissionEffect::Reject, None) => {
                (InputOutcome::Rejected, "the profile's policy rejects what no rule allows".to_owned())
            }
        };
        let rule_id = rule.map(|rule| rule.rule_id.clone()).unwrap_or_default();
        let itself = InputResolution::by_itself(outcome, self.time());
        Some(InputResolution { message, rule_id, effect: Some(effect), ..itself })
    }

    /// The rules that may keep a call from running: what the agent must ask about in every mode.
    pub(super) fn strict(&self, policy: &PermissionPolicy) -> Vec<PermissionRule> {
        // A pattern without its secrets covers nothing in the agent's eyes.
        let of_session = self.state().permission_rules.iter().filter(|rule| rule.effect != PermissionEffect::Allow);
        let of_session = of_session.cloned().map(|rule| {
            let pattern = if redact::hides(&rule.pattern) { String::new() } else { rule.pattern };
            PermissionRule { pattern, ..rule }
        });
        policy.strict().into_iter().chain(of_session).collect()
    }

    /// What a request can be answered.
    pub(super) fn options(&self, ask: &Ask) -> Vec<PermissionOption> {
        let room = self.state().permission_rules.len() < PermissionRule::MOST;
        let pattern = ask.always.as_deref().filter(|pattern| {
            room && pattern.len() <= LONGEST_PATTERN && !pattern.contains('\0') && ask.tool_name.len() <= 200
        });
        pattern.map_or_else(PermissionOption::once, |pattern| PermissionOption::once_or_always(&ask.tool_name, pattern))
    }

    /// The rule that an "always" answer leaves.
    pub(super) fn new_rule(&self, rule: &PermissionRule, by: &Principal) -> Result<PermissionRule, Failure> {
        if self.rules_without(rule).len() >= PermissionRule::MOST {
            let rule = format!("the session has {} rules already; delete one, or answer once", PermissionRule::MOST);
            return Err(Failure::invalid("option_id", rule));
        }
        let (rule_id, created_by, create_time) = (mint("rule"), Some(by.clone()), Some(self.time()));
        Ok(PermissionRule { rule_id, created_by, create_time, ..rule.clone() })
    }

    /// Keeps a rule, as the most recent, instead of one about the same calls.
    pub(super) fn keep_rule(&mut self, rule: &PermissionRule, by: &Principal) {
        let mut rules = self.rules_without(rule);
        rules.push(rule.clone());
        tracing::info!(rule = %rule.rule_id, "a rule is kept: {rule}");
        self.record_session(Some(by), Kind::PermissionRulesChanged { rules });
    }

    /// Removes a rule.
    pub(super) fn delete_rule(&mut self, rule_id: &str, by: &Principal) -> Result<(), Failure> {
        let mut rules = self.state().permission_rules.clone();
        let Some(at) = rules.iter().position(|rule| rule.rule_id == rule_id) else {
            let message = format!("there is no rule {rule_id} in this session; those of a profile are changed there");
            return Err(Failure::new(Reason::PermissionRuleNotFound, message).with("rule_id", rule_id));
        };
        rules.remove(at);
        self.record_session(Some(by), Kind::PermissionRulesChanged { rules });
        Ok(())
    }

    fn rules_without(&self, rule: &PermissionRule) -> Vec<PermissionRule> {
        self.state().permission_rules.iter().filter(|held| !held.is_about_the_same(rule)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Call, Verdict, verdict};
    use crate::{
        agent::Ask,
        domain::{
            Agent,
            PermissionEffect::{self, Allow, Ask as AskFirst, Reject},
            PermissionPolicy, PermissionRule,
        },
    };

    fn rule(pattern: &str, effect: PermissionEffect) -> PermissionRule {
        PermissionRule::of("Bash", pattern, effect)
    }

    fn said(session: &[PermissionRule], policy: &PermissionPolicy, command: &str) -> PermissionEffect {
        let input_json = serde_json::json!({ "command": command }).to_string();
        let ask = Ask { tool_name: "Bash".into(), input_json, ..Ask::default() };
        as_given(session, policy, &ask).effect
    }

    fn as_given<'a>(session: &'a [PermissionRule], policy: &'a PermissionPolicy, ask: &Ask) -> Verdict<'a> {
        verdict(Agent::ClaudeCode, session, policy, Call { given: ask, shown: ask })
    }

    #[test]
    fn the_sessions_rules_come_first_and_the_most_recent_decides() {
        let policy = PermissionPolicy {
            rules: vec![rule("ls:*", Reject), rule("ls:*", Allow), rule("rm:*", Reject)],
            ..PermissionPolicy::default()
        };
        assert_eq!(said(&[], &policy, "ls -l"), Allow);
        assert_eq!(said(&[], &policy, "rm a"), Reject);
        assert_eq!(said(&[], &policy, "cat a"), AskFirst, "where nobody says anything");
        let session = [rule("ls:*", Allow), rule("ls -l", Reject), rule("rm a", Allow)];
        assert_eq!(said(&session, &policy, "ls -l"), Reject);
        assert_eq!(said(&session, &policy, "ls"), Allow);
        assert_eq!(said(&session, &policy, "rm a"), Allow);
        for default in [Allow, AskFirst, Reject] {
            let policy = PermissionPolicy { default_effect: Some(default), ..policy.clone() };
            assert_eq!(said(&session, &policy, "cat a"), default);
            assert_eq!(said(&session, &policy, "rm b"), Reject);
        }
    }

    #[test]
    fn what_nobody_can_judge_is_asked_about_and_never_allowed() {
        let unclear = |effect| PermissionRule::of("mcp__a", "x", effect);
        let ask = Ask { tool_name: "mcp__a__b".into(), input_json: "{}".into(), ..Ask::default() };
        let allows = PermissionPolicy { default_effect: Some(Allow), ..PermissionPolicy::default() };
        let of = |session: &[PermissionRule]| as_given(session, &allows, &ask).effect;
        assert_eq!(of(&[unclear(Reject)]), AskFirst, "though the default allows");
        assert_eq!(of(&[unclear(AskFirst)]), AskFirst);
        let rejects = PermissionPolicy { default_effect: Some(Reject), ..PermissionPolicy::default() };
        assert_eq!(as_given(&[unclear(Allow)], &rejects, &ask).effect, Reject);
    }

    #[test]
    fn a_profiles_rules_judge_the_call_and_not_what_is_shown_of_it() {
        let ask = |path: &str| Ask {
            tool_name: "Edit".into(),
            input_json: serde_json::json!({ "file_path": path }).to_string(),
            cwd: "/workspace".into(),
            ..Ask::default()
        };
        let (given, shown) = (ask("/workspace/app/secrets/k"), ask("[secret APP_DIR]/secrets/k"));
        let rules = vec![PermissionRule::of("Edit", "", Allow), PermissionRule::of("Edit", "app/secrets/**", Reject)];
        let policy = PermissionPolicy { rules, ..PermissionPolicy::default() };
        let of = |given, shown| verdict(Agent::ClaudeCode, &[], &policy, Call { given, shown }).effect;
        assert_eq!(of(&given, &shown), Reject);
        // An "always" answer to the one is none to what leads elsewhere.
        let session = [PermissionRule::of("Edit", "app/**", Allow)];
        let (given, shown) = (ask("/a/b/../../app/x"), ask("[secret A]/../app/x"));
        let (nothing, call) = (PermissionPolicy::default(), Call { given: &given, shown: &shown });
        assert_eq!(verdict(Agent::ClaudeCode, &session, &nothing, call).effect, AskFirst);
    }

    #[test]
    fn a_sessions_rules_know_secrets_by_their_names_and_allow_no_more_for_it() {
        let bash = |command: &str| {
            let input_json = serde_json::json!({ "command": command }).to_string();
            Ask { tool_name: "Bash".into(), input_json, ..Ask::default() }
        };
        let nothing = PermissionPolicy::default();
        let of = |pattern: &str, effect, given: &str, shown: &str| {
            let session = [rule(pattern, effect)];
            verdict(Agent::ClaudeCode, &session, &nothing, Call { given: &bash(given), shown: &bash(shown) }).effect
        };
        let (given, shown) = ("push hunter22 now", "push [secret TOKEN] now");
        for effect in [Allow, Reject] {
            assert_eq!(of(shown, effect, given, shown), effect, "the same call again");
            assert_eq!(of("push [secret TOKEN] *", effect, given, shown), effect);
            assert_eq!(of("push hunter22 *", effect, given, shown), effect);
        }
        // With its secret it is more than it shows.
        let given = "push a;rm -rf b now";
        assert_eq!(of("push *", Allow, given, shown), AskFirst);
        assert_eq!(of("rm:*", Reject, given, shown), Reject);
        assert_eq!(of(shown, Allow, given, shown), Allow, "the command that was allowed");
    }
}
