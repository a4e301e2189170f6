//! Reasons: the domain's, the contract's, their worked examples and their codes.

use std::collections::BTreeSet;

use agent_runtime::{domain::Reason, grpc::status, proto::ErrorReason};
use serde_json::Value;
use tonic::Code;

use crate::{comment, files};

/// Name without prefix, and comment, of every value but the first.
fn reasons() -> Vec<(String, String)> {
    let files = files();
    let file = files.iter().find(|file| file.name().ends_with("/error_reason.proto")).unwrap();
    let values = file.enum_type[0].value.iter().enumerate().skip(1);
    values
        .map(|(at, value)| {
            let name = value.name().strip_prefix("ERROR_REASON_").unwrap().to_owned();
            (name, comment(file, &[5, 0, 2, i32::try_from(at).unwrap()]))
        })
        .collect()
}

#[test]
fn the_domain_and_the_contract_have_the_same_reasons() {
    let ours: BTreeSet<String> = Reason::ALL.iter().map(|reason| reason.as_str().to_owned()).collect();
    let theirs: BTreeSet<String> = reasons().into_iter().map(|(name, _)| name).collect();
    assert_eq!(ours, theirs);
    for reason in Reason::ALL {
        let name = ErrorReason::from(*reason).as_str_name();
        assert_eq!(name, format!("ERROR_REASON_{}", reason.as_str()));
    }
}

#[test]
fn every_reason_has_a_worked_error_info() {
    for (name, comment) in reasons() {
        let example = comment.split('`').find(|quoted| quoted.starts_with('{'));
        let example = example.unwrap_or_else(|| panic!("{name} has no example"));
        let example: Value = serde_json::from_str(example).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(example["reason"], name.as_str());
        assert_eq!(example["domain"], "agentruntime.v1");
        let keys: BTreeSet<&str> = example.as_object().unwrap().keys().map(String::as_str).collect();
        assert!(keys.is_subset(&BTreeSet::from(["reason", "domain", "metadata"])), "{name}: {keys:?}");
        if let Some(metadata) = example.get("metadata") {
            assert!(metadata.as_object().unwrap().values().all(Value::is_string), "{name}: values are strings");
        }
    }
}

#[test]
fn the_codes_are_those_of_the_comments() {
    for (name, comment) in reasons() {
        let reason = Reason::ALL.iter().find(|reason| reason.as_str() == name).unwrap();
        let (told, _) = comment.split_once(" Retry:").unwrap_or_else(|| panic!("{name} does not say about retries"));
        let code = told.trim_end_matches('.').rsplit(' ').next().unwrap();
        if comment.starts_with("In Turn.error only:") {
            assert_eq!(status::code(*reason), None, "{name}");
        } else {
            assert_eq!(status::code(*reason).map(spelled), Some(code), "{name}");
        }
    }
}

fn spelled(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
