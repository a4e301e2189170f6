//! Bytes that come with messages.

use agent_runtime::{
    domain::{ContentPart, Reason},
    grpc::validate,
    proto::{self, content_part::Part},
};
use sha2::{Digest as _, Sha256};

#[test]
fn bytes_come_with_a_message() {
    let blob = |media_type: &str, data: &'static [u8]| proto::Blob {
        media_type: media_type.into(),
        name: "a file".into(),
        data: data.into(),
        ..Default::default()
    };
    let message = |parts: Vec<Part>| proto::SendMessageRequest {
        session_id: "ses_1".into(),
        parts: parts.into_iter().map(|part| proto::ContentPart { part: Some(part) }).collect(),
        ..Default::default()
    };
    let taken = validate::send_message(message(vec![
        Part::Text("look".into()),
        Part::Image(blob("image/png", b"png")),
        Part::Attachment(blob("application/pdf", b"pdf")),
    ]));
    let parts = taken.expect("taken").parts;
    let ContentPart::Image(image) = &parts[1] else { panic!("{parts:?}") };
    assert_eq!((image.size_bytes, image.media_type.as_str(), image.name.as_str()), (3, "image/png", "a file"));
    assert_eq!(image.sha256, format!("{:x}", Sha256::digest(b"png")));
    assert_eq!(image.data.bytes(), Some(&b"png"[..]));
    assert!(matches!(&parts[2], ContentPart::Attachment(held) if held.data.bytes() == Some(b"pdf")));

    let refused = |part: Part| {
        let failure = validate::send_message(message(vec![part])).expect_err("refused");
        failure.violations.iter().map(|violation| violation.field.clone()).collect::<Vec<_>>()
    };
    assert_eq!(refused(Part::Image(blob("image/tiff", b"x"))), ["parts[0].image.media_type"]);
    assert_eq!(refused(Part::Attachment(blob("text/plain", b"x"))), ["parts[0].attachment.media_type"]);
    assert_eq!(refused(Part::Image(blob("image/png", b""))), ["parts[0].image.data"]);
    let named = proto::Blob { sha256: "0".repeat(64), ..blob("image/png", b"x") };
    assert_eq!(refused(Part::Image(named)), ["parts[0].image.sha256"]);
    let sized = proto::Blob { size_bytes: 1, ..blob("image/png", b"x") };
    assert_eq!(refused(Part::Image(sized)), ["parts[0].image.size_bytes"]);
    let large = proto::Blob { data: vec![0; (4 << 20) + 1].into(), ..blob("image/png", b"x") };
    let failure = validate::send_message(message(vec![Part::Image(large)])).expect_err("refused");
    assert_eq!(failure.reason, Reason::MessageTooLarge);
}
