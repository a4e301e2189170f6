//! Which scope a call needs: the code's table is what the contract's comments say.

use agent_runtime::{
    domain::Scope,
    grpc::{Access, access},
    proto::FILE_DESCRIPTOR_SET,
};
use prost::Message as _;
use prost_types::FileDescriptorSet;

#[test]
fn every_method_needs_the_scope_that_its_comment_names() {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let mut seen = 0;
    for file in set.file.iter().filter(|file| file.package() == "agentruntime.v1") {
        let comments = &file.source_code_info.as_ref().unwrap().location;
        for (at, service) in file.service.iter().enumerate() {
            for (method_at, method) in service.method.iter().enumerate() {
                let path = [6, i32::try_from(at).unwrap(), 2, i32::try_from(method_at).unwrap()];
                let comment = comments.iter().find(|location| location.path == path).unwrap().leading_comments();
                let comment = comment.split_whitespace().collect::<Vec<_>>().join(" ");
                let told = match comment.rsplit_once("Scope ") {
                    Some((_, "READ.")) => Access::Scope(Scope::Read),
                    Some((_, "WRITE.")) => Access::Scope(Scope::Write),
                    Some((_, "APPROVE.")) => Access::Scope(Scope::Approve),
                    Some((_, "ADMIN.")) => Access::Scope(Scope::Admin),
                    Some((_, other)) => panic!("{}: {other}", method.name()),
                    None => {
                        assert!(comment.ends_with("Any valid key."), "{}: {comment}", method.name());
                        Access::AnyKey
                    }
                };
                let path = format!("/agentruntime.v1.{}/{}", service.name(), method.name());
                assert_eq!(access(&path), told, "{path}");
                seen += 1;
            }
        }
    }
    assert!(seen > 30, "only {seen} methods were looked at");
}

#[test]
fn what_is_not_known_is_not_open() {
    for path in ["", "/", "/agentruntime.v1.SessionService/Nothing", "/agentruntime.v2.SessionService/GetSession"] {
        assert_eq!(access(path), Access::Scope(Scope::Admin), "{path:?}");
    }
    for path in ["/grpc.health.v1.Health/Check", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"] {
        assert_eq!(access(path), Access::Open, "{path}");
    }
    assert_ne!(access("/grpc.health.v1.Healthy/Check"), Access::Open);
}
