//! The codec as generated servers use it: requests that cannot be read are refused by field, over the wire.

use std::future::Ready;

use agent_runtime::{
    grpc::{fields::UNBUILT, status},
    proto::{Codec, GetSessionResponse, SendMessageRequest},
};
use tonic::{Code, Request, Response, Status, server::Grpc};
use tonic_types::StatusExt as _;

/// A service that is never reached.
#[derive(Clone)]
struct Unreached;

impl tonic::server::UnaryService<SendMessageRequest> for Unreached {
    type Response = GetSessionResponse;
    type Future = Ready<Result<Response<GetSessionResponse>, Status>>;

    fn call(&mut self, request: Request<SendMessageRequest>) -> Self::Future {
        panic!("the request was read: {request:?}")
    }
}

/// The status that a request with this message gets; the bytes are UTF-8 only because a text can be a body as it is.
async fn refusal(message: &str) -> Status {
    let frame = format!("\0\0\0\0{}{message}", char::from(u8::try_from(message.len()).unwrap()));
    let request = http::Request::builder().header("content-type", "application/grpc").body(frame).unwrap();
    let codec: Codec<GetSessionResponse, SendMessageRequest> = Codec::default();
    let response = Grpc::new(codec).unary(Unreached, request).await;
    Status::from_header_map(response.headers()).unwrap()
}

#[tokio::test]
async fn a_request_that_cannot_be_read_is_an_invalid_argument() {
    // busy_policy, and then nothing
    let status = refusal("\x20").await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "INVALID_FIELD");
    assert_eq!(details.bad_request().unwrap().field_violations[0].field, "busy_policy");
    // a field of number 0
    assert_eq!(refusal("\0").await.code(), Code::InvalidArgument);
}

#[test]
fn what_is_not_built_says_so() {
    for method in UNBUILT {
        let status = status::not_implemented(method);
        assert_eq!(status.code(), Code::Unimplemented);
        assert_eq!(status.get_details_error_info().unwrap().metadata["method"], *method);
    }
}
