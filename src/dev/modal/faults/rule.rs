//! One rule by which calls fail, as it is written and as it is told on the wire.

use std::{fmt, str::FromStr, time::Duration};

use prost::Message as _;
use tonic::{Code, Status};

use crate::modal_wire::client::{RpcRetryPolicy, RpcStatus};

/// In the place of a code: the token that the call was made with has expired, there and then.
const EXPIRED: &str = "EXPIRED";

/// Which calls fail, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub(super) call: String,
    pub(super) fault: Fault,
    pub(super) how_often: HowOften,
}

/// How a call fails.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    code: Code,
    /// Nobody gets any further with the token of this call.
    pub(super) expires: bool,
    retry_after: Option<f32>,
    /// So many messages of its answer come through before.
    pub(super) after: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum HowOften {
    Times(u64),
    Chance(f64),
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text}: a fault reads Call=CODE[+SECONDS]@MESSAGES*TIMES or …%PROBABILITY");
        let (call, rest) = text.split_once('=').ok_or_else(wrong)?;
        let (code, rest) = rest.split_once('@').ok_or_else(wrong)?;
        let (code, retry_after) = match code.split_once('+') {
            Some((code, seconds)) => (code, Some(seconds.parse().map_err(|_| wrong())?)),
            None => (code, None),
        };
        let (after, how_often) = if let Some((after, times)) = rest.split_once('*') {
            (after, HowOften::Times(times.parse().map_err(|_| wrong())?))
        } else {
            let (after, chance) = rest.split_once('%').ok_or_else(wrong)?;
            (after, HowOften::Chance(chance.parse().map_err(|_| wrong())?))
        };
        let expires = code == EXPIRED;
        let code = if expires { Some(Code::Unauthenticated) } else { code_of(code) }
            .ok_or_else(|| format!("{code} is neither a status of gRPC nor {EXPIRED}"))?;
        let fault = Fault { code, expires, retry_after, after: after.parse().map_err(|_| wrong())? };
        Ok(Self { call: call.to_owned(), fault, how_often })
    }
}

impl Fault {
    /// It fails nothing: so long the call is held back, or until there are other rules. After messages of its answer it is an
    /// end in good order instead.
    pub(super) fn holds_back(&self) -> Option<Duration> {
        let wait = self.retry_after.and_then(|seconds| Duration::try_from_secs_f32(seconds).ok());
        (self.code == Code::Ok && self.after == 0).then(|| wait.unwrap_or_default())
    }

    pub(super) fn status(&self) -> Status {
        let Some(retry_after_secs) = self.retry_after else { return Status::new(self.code, "injected") };
        let policy = prost_types::Any {
            type_url: "type.modal.com/modal.client.RPCRetryPolicy".to_owned(),
            value: RpcRetryPolicy { retry_after_secs }.encode_to_vec(),
        };
        let details = RpcStatus { code: i32::from(self.code), message: "injected".to_owned(), details: vec![policy] };
        Status::with_details(self.code, "injected", details.encode_to_vec().into())
    }
}

/// As it is written in a rule.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.expires {
            f.write_str(EXPIRED)?;
        } else {
            f.write_str(&name_of(self.code))?;
        }
        if let Some(seconds) = self.retry_after {
            write!(f, "+{seconds}")?;
        }
        write!(f, "@{}", self.after)
    }
}

fn code_of(name: &str) -> Option<Code> {
    (0..=16).map(Code::from_i32).find(|code| name_of(*code) == name)
}

/// `DeadlineExceeded` is `DEADLINE_EXCEEDED` on the wire.
fn name_of(code: Code) -> String {
    let mut spelled = String::new();
    for character in format!("{code:?}").chars() {
        if character.is_uppercase() && !spelled.is_empty() {
            spelled.push('_');
        }
        spelled.push(character.to_ascii_uppercase());
    }
    spelled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_reads_as_it_is_written() {
        for fault in ["UNAVAILABLE@0", "DEADLINE_EXCEEDED@1", "RESOURCE_EXHAUSTED+0.5@0", "EXPIRED@3"] {
            for often in ["*2", "%0.25"] {
                let rule: Rule = format!("TaskExecWait={fault}{often}").parse().expect("a rule");
                assert_eq!((&*rule.call, rule.fault.to_string()), ("TaskExecWait", fault.to_owned()));
                assert_eq!(rule.how_often == HowOften::Times(2), often == "*2");
            }
        }
        for wrong in ["", "A=B@0*1", "A=UNAVAILABLE@0", "A=UNAVAILABLE@x*1", "A=UNAVAILABLE*1"] {
            assert!(wrong.parse::<Rule>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_fault_says_what_it_is() {
        let fault = |text: &str| text.parse::<Rule>().expect("a rule").fault;
        assert_eq!(fault("A=EXPIRED@0*1").status().code(), Code::Unauthenticated);
        assert_eq!(fault("A=OK+2@0*1").holds_back(), Some(Duration::from_secs(2)));
        assert_eq!(fault("A=UNAVAILABLE+2@0*1").holds_back(), None);
        assert_eq!(fault("A=OK@1*1").holds_back(), None);
        let status = fault("A=RESOURCE_EXHAUSTED+0.5@0*1").status();
        let details = RpcStatus::decode(status.details()).expect("details");
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(details.details[0].type_url.ends_with("/modal.client.RPCRetryPolicy"));
    }
}
