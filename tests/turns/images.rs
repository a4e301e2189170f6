//! Images and documents in messages reach the model of the real Claude Code CLI.

use agent_runtime::proto::{self, block::Content, content_part::Part};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{
    claude::{script, session, start},
    support::{Sessions, scripted, snapshot, until_end_of, watch},
};

/// One white point.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";

/// The least that is a document of one empty page.
const PDF: &[u8] =
    b"%PDF-1.1\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n\
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n";

fn png() -> Vec<u8> {
    STANDARD.decode(PNG).expect("base64")
}

fn blob(media_type: &str, data: Vec<u8>) -> proto::Blob {
    proto::Blob { media_type: media_type.into(), data: data.into(), ..Default::default() }
}

async fn show(sessions: &mut Sessions, id: &str) -> Result<proto::SendMessageResponse, tonic::Status> {
    let parts = [
        Part::Text("What is this?".into()),
        Part::Image(blob("image/png", png())),
        Part::Attachment(blob("application/pdf", PDF.to_vec())),
    ];
    let parts = parts.map(|part| proto::ContentPart { part: Some(part) }).into();
    let request = proto::SendMessageRequest { session_id: id.into(), parts, ..Default::default() };
    Ok(sessions.send_message(request).await?.into_inner())
}

fn named(media_type: &str, data: &[u8]) -> String {
    format!("{media_type} {:x}", Sha256::digest(data))
}

fn answer() -> agent_runtime::dev::model::Script {
    script(json!([{ "answer": [{ "text": "A point, and a page." }] }]))
}

#[tokio::test]
async fn an_image_and_a_document_reach_the_model() {
    let Some((server, model)) = start(answer()).await else { return };
    let mut sessions = server.sessions().await;
    let id = session(&mut sessions).await;
    let sent = show(&mut sessions, &id).await.expect("accepted");
    let turn = sent.turn.expect("a turn");
    let mut stream = watch(&mut sessions, &id, Some(sent.sequence)).await.expect("a watch");
    until_end_of(&mut stream, &turn.turn_id).await;
    let asked = model.requests();
    let shown = &asked.iter().find(|seen| !seen.shown.is_empty()).expect("the model was shown something").shown;
    assert_eq!(shown[..], [named("image/png", &png()), named("application/pdf", PDF)]);

    // The block names the bytes, which can be read by that name.
    let (state, _) = snapshot(&mut sessions, &id).await;
    let said = state.blocks.iter().find(|block| block.block_id == turn.block_id).expect("the message");
    let Some(Content::UserMessage(said)) = &said.content else { panic!("{said:?}") };
    let Some(Part::Image(image)) = &said.parts[1].part else { panic!("{said:?}") };
    assert_eq!((image.sha256.as_str(), image.data.len()), (&*format!("{:x}", Sha256::digest(png())), 0));
    let request = proto::ReadBlobRequest { session_id: id, sha256: image.sha256.clone(), ..Default::default() };
    let mut pieces = sessions.read_blob(request).await.expect("read").into_inner();
    assert_eq!(pieces.message().await.expect("a piece").expect("one").data, png());

    // An agent that cannot look at it says so.
    let id = scripted(&mut sessions).await.session_id;
    let refused = show(&mut sessions, &id).await.expect_err("refused");
    assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused:?}");
    model.shutdown().await;
}
