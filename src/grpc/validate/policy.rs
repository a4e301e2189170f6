//! What a profile says about asking.

use std::{collections::HashSet, ops::RangeInclusive, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use super::{MAX_ID, MAX_NAME, MAX_PATTERN, MAX_RULES, check::Check, watch};
use crate::{
    domain::{PermissionEffect, PermissionPolicy, PermissionRule},
    proto,
};

/// How long a request may stay open.
const PATIENCE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(30 * 24);

/// What is asked, how long, and what silence means; `field` is where it stands in the request.
pub(super) fn policy(check: &mut Check, field: &str, policy: proto::PermissionPolicy) -> PermissionPolicy {
    let proto::PermissionPolicy { default_effect, rules, ask_timeout, timeout_effect } = policy;
    if rules.len() > MAX_RULES {
        check.refuse(format!("{field}.rules"), format!("at most {MAX_RULES}"));
    }
    let default_effect = effect(check, &format!("{field}.default_effect"), default_effect);
    let timeout_field = format!("{field}.timeout_effect");
    let timeout_effect = effect(check, &timeout_field, timeout_effect);
    if timeout_effect == Some(PermissionEffect::Ask) {
        check.refuse(timeout_field, "ALLOW or REJECT: nobody is there to be asked");
    }
    let ask_timeout = ask_timeout.map(|timeout| {
        let timeout = watch::duration(timeout).filter(|timeout| PATIENCE.contains(timeout));
        if timeout.is_none() {
            check.refuse(format!("{field}.ask_timeout"), "1 s to 30 days");
        }
        timeout.unwrap_or_default()
    });
    let mut ids = HashSet::new();
    let mut kept = Vec::with_capacity(rules.len());
    for (at, rule) in rules.into_iter().enumerate() {
        let field = format!("{field}.rules[{at}]");
        let rule = self::rule(check, &field, rule);
        if !ids.insert(rule.rule_id.clone()) {
            check.refuse(format!("{field}.rule_id"), "of another rule too, or another rule is the same");
        }
        kept.push(rule);
    }
    PermissionPolicy { default_effect, rules: kept, ask_timeout, timeout_effect }
}

/// A rule that was read keeps its id when it is written back; a new one gets one that follows from what it says, so that
/// the same request always is the same profile.
fn rule(check: &mut Check, field: &str, rule: proto::PermissionRule) -> PermissionRule {
    let proto::PermissionRule { rule_id, tool_name, pattern, effect: wanted, created_by, create_time } = rule;
    check.output_only(format!("{field}.created_by"), created_by.is_some());
    check.output_only(format!("{field}.create_time"), create_time.is_some());
    let tool_field = format!("{field}.tool_name");
    if tool_name.is_empty() {
        check.refuse(&tool_field, "required");
    } else if tool_name.contains(['(', ')']) || tool_name.contains(char::is_whitespace) {
        check.refuse(&tool_field, "a tool's name alone; which inputs stands in pattern");
    }
    let effect_field = format!("{field}.effect");
    let effect = effect(check, &effect_field, wanted).unwrap_or_else(|| {
        // What is no effect is refused already.
        if wanted == 0 {
            check.refuse(effect_field, "required");
        }
        PermissionEffect::Ask
    });
    let rule_id = if rule_id.is_empty() {
        let said = Sha256::digest(format!("{tool_name}\0{pattern}\0{effect:?}"));
        format!("rule_{}", URL_SAFE_NO_PAD.encode(&said[..12]))
    } else {
        check.text(format!("{field}.rule_id"), rule_id, MAX_ID)
    };
    PermissionRule {
        rule_id,
        tool_name: check.text(tool_field, tool_name, MAX_NAME),
        pattern: check.text(format!("{field}.pattern"), pattern, MAX_PATTERN),
        effect,
        created_by: None,
        create_time: None,
    }
}

/// `None`: the default that is stated at the field.
fn effect(check: &mut Check, field: &str, number: i32) -> Option<PermissionEffect> {
    match check.known(field, number, "PermissionEffect")? {
        proto::PermissionEffect::Unspecified => None,
        proto::PermissionEffect::Allow => Some(PermissionEffect::Allow),
        proto::PermissionEffect::Ask => Some(PermissionEffect::Ask),
        proto::PermissionEffect::Reject => Some(PermissionEffect::Reject),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Check, PermissionEffect, PermissionPolicy, policy};
    use crate::proto;

    fn rule(tool_name: &str, pattern: &str, effect: proto::PermissionEffect) -> proto::PermissionRule {
        let (tool_name, pattern) = (tool_name.into(), pattern.into());
        proto::PermissionRule { tool_name, pattern, effect: effect.into(), ..proto::PermissionRule::default() }
    }

    fn checked(wire: proto::PermissionPolicy) -> Result<PermissionPolicy, Vec<String>> {
        let mut check = Check::default();
        let taken = policy(&mut check, "policy", wire);
        let fields = |failure: crate::domain::Failure| failure.violations.into_iter().map(|broken| broken.field);
        check.finish(taken).map_err(|failure| fields(failure).collect())
    }

    #[test]
    fn a_policy_is_taken_whole_and_comes_back_as_it_was() {
        let wire = proto::PermissionPolicy {
            default_effect: proto::PermissionEffect::Reject.into(),
            rules: vec![
                rule("Bash", "npm run test:*", proto::PermissionEffect::Allow),
                rule("mcp__github", "", proto::PermissionEffect::Ask),
            ],
            ask_timeout: Some(prost_types::Duration { seconds: 90, nanos: 500_000_000 }),
            timeout_effect: proto::PermissionEffect::Allow.into(),
        };
        let taken = checked(wire.clone()).expect("taken");
        assert_eq!(taken.default_effect, Some(PermissionEffect::Reject));
        assert_eq!(taken.timeout_effect, Some(PermissionEffect::Allow));
        assert_eq!(taken.ask_timeout, Some(Duration::from_millis(90_500)));
        let [test, github] = &taken.rules[..] else { panic!("{:?}", taken.rules) };
        assert!(test.rule_id.starts_with("rule_") && test.rule_id != github.rule_id);
        assert_eq!((test.pattern.as_str(), test.effect), ("npm run test:*", PermissionEffect::Allow));
        let back = proto::PermissionPolicy::from(taken.clone());
        assert_eq!(checked(back.clone()), Ok(taken), "writing back what was read changes nothing");
        let without_ids =
            back.rules.iter().map(|rule| proto::PermissionRule { rule_id: String::new(), ..rule.clone() });
        assert_eq!(proto::PermissionPolicy { rules: without_ids.collect(), ..back }, wire);
        assert_eq!(checked(proto::PermissionPolicy::default()), Ok(PermissionPolicy::default()));
    }

    #[test]
    fn what_is_wrong_with_a_policy_is_told_by_field() {
        let duration = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
        for (ask_timeout, taken) in [
            (duration(1, 0), true),
            (duration(30 * 86_400, 0), true),
            (duration(0, 999_999_999), false),
            (duration(30 * 86_400, 1), false),
            (duration(-1, 0), false),
        ] {
            let answer = checked(proto::PermissionPolicy { ask_timeout, ..Default::default() });
            assert_eq!(answer.is_ok(), taken, "{ask_timeout:?}");
            assert!(answer.is_ok() || answer == Err(vec!["policy.ask_timeout".into()]));
        }
        let ask = proto::PermissionEffect::Ask.into();
        let wire = proto::PermissionPolicy { timeout_effect: ask, default_effect: 9, ..Default::default() };
        assert_eq!(checked(wire), Err(vec!["policy.default_effect".into(), "policy.timeout_effect".into()]));
        let allow = proto::PermissionEffect::Allow;
        let twice = proto::PermissionRule { rule_id: "rule_1".into(), ..rule("Bash", "", allow) };
        let wire = proto::PermissionPolicy {
            rules: vec![
                rule("", "", allow),
                rule("Bash(ls)", "", allow),
                rule("Bash", &"x".repeat(4097), allow),
                rule("Bash", "", proto::PermissionEffect::Unspecified),
                proto::PermissionRule { created_by: Some(proto::Principal::default()), ..twice.clone() },
                proto::PermissionRule { create_time: Some(prost_types::Timestamp::default()), ..twice },
            ],
            ..Default::default()
        };
        let expected = [
            "rules[0].tool_name",
            "rules[1].tool_name",
            "rules[2].pattern",
            "rules[3].effect",
            "rules[4].created_by",
            "rules[5].create_time",
            "rules[5].rule_id",
        ];
        assert_eq!(checked(wire), Err(expected.map(|field| format!("policy.{field}")).to_vec()));
        let many = |number: usize| {
            let rules = (0..number).map(|at| rule("Bash", &format!("run {at}"), allow)).collect();
            checked(proto::PermissionPolicy { rules, ..Default::default() })
        };
        assert!(many(256).is_ok());
        assert_eq!(many(257), Err(vec!["policy.rules".into()]));
        let same = proto::PermissionPolicy { rules: vec![rule("Bash", "", allow); 2], ..Default::default() };
        assert_eq!(checked(same), Err(vec!["policy.rules[1].rule_id".into()]));
    }
}
