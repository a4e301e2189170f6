//! RPCs: their comments.

use crate::{comment, files};

#[test]
fn every_rpc_names_its_scope() {
    let mut seen = 0;
    for file in files() {
        for (at, service) in file.service.iter().enumerate() {
            for (method_at, method) in service.method.iter().enumerate() {
                let path = [6, i32::try_from(at).unwrap(), 2, i32::try_from(method_at).unwrap()];
                let comment = comment(&file, &path);
                let scopes = ["READ", "WRITE", "APPROVE", "ADMIN"];
                let named = scopes.iter().filter(|scope| comment.ends_with(&format!("Scope {scope}."))).count();
                let any = comment.ends_with("Any valid key.");
                assert!(named == 1 || any, "{}/{}: {comment}", service.name(), method.name());
                seen += 1;
            }
        }
    }
    assert!(seen > 30, "only {seen} RPCs were looked at");
}
