//! Images over the wire: layers that are built, their logs as they come, and those that are there.

use std::{sync::Arc, time::Duration};

use futures::{Stream, stream};
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use crate::{
    dev::modal::world::now,
    dev::modal::{error::Error, image::Image, world::World},
    modal_wire::client::{
        FileDescriptor, GenericResult, ImageFromIdRequest, ImageFromIdResponse, ImageGetOrCreateRequest,
        ImageGetOrCreateResponse, ImageJoinStreamingRequest, ImageJoinStreamingResponse, ImageMetadata, TaskLogs,
        generic_result::GenericStatus,
    },
};

/// Longest that one stream of a build's log lasts.
const LONGEST: f32 = 55.0;

pub(super) fn get_or_create(
    world: &World,
    request: ImageGetOrCreateRequest,
) -> Result<ImageGetOrCreateResponse, Error> {
    if !request.build_function_id.is_empty() {
        return Err(Error::NotEmulated("images built by functions (build_function_id)"));
    }
    if !request.existing_image_id.is_empty() {
        let image = world.images.get(&request.existing_image_id)?;
        return Ok(answer(&image));
    }
    let layer = request.image.unwrap_or_default();
    if !layer.context_mount_id.is_empty() {
        return Err(Error::NotEmulated("mounts as a build's context (context_mount_id)"));
    }
    let env = world.kept(&layer.secret_ids)?;
    let force = request.force_build || request.ignore_cache;
    Ok(answer(&*world.images.layer(&layer, &request.builder_version, force, env)?))
}

fn answer(image: &Image) -> ImageGetOrCreateResponse {
    let done = image.progress().borrow().done.clone();
    let metadata = Some(metadata(image));
    ImageGetOrCreateResponse { image_id: image.id.clone(), result: done.as_ref().map(result), metadata }
}

pub(super) fn from_id(world: &World, request: &ImageFromIdRequest) -> Result<ImageFromIdResponse, Error> {
    let image = world.images.get(&request.image_id)?;
    Ok(ImageFromIdResponse { image_id: image.id.clone(), metadata: Some(metadata(&image)) })
}

/// The log of a build behind the last entry that is known, as it comes, and at its end what became of it. Ends without that
/// when the time is over.
pub(super) fn join(
    world: &World,
    request: &ImageJoinStreamingRequest,
) -> Result<impl Stream<Item = Result<ImageJoinStreamingResponse, Status>> + Send + 'static, Error> {
    let image = world.images.get(&request.image_id)?;
    let known = request.last_entry_id.parse::<usize>().unwrap_or(0);
    // Of one that is built already, nobody wants to read how, unless they say so.
    let known = if image.progress().borrow().done.is_some() && !request.include_logs_for_finished && known == 0 {
        usize::MAX
    } else {
        known
    };
    let until = Instant::now() + Duration::from_secs_f32(request.timeout.clamp(0.0, LONGEST));
    let progress = image.progress();
    Ok(stream::unfold(Some((image, progress, known)), move |at| async move {
        let (image, mut progress, known) = at?;
        let news = progress.wait_for(|progress| progress.lines.len() > known || progress.done.is_some());
        let (fresh, done) = match timeout_at(until, news).await {
            Ok(Ok(progress)) => (progress.lines.get(known..).unwrap_or_default().to_vec(), progress.done.clone()),
            Ok(Err(_)) | Err(_) => return None,
        };
        if fresh.is_empty() {
            let result = done.as_ref().map(result);
            let metadata = Some(metadata(&image));
            let last =
                ImageJoinStreamingResponse { result, metadata, eof: true, ..ImageJoinStreamingResponse::default() };
            return Some((Ok(last), None));
        }
        let known = known + fresh.len();
        let task_logs = fresh.into_iter().map(line).collect();
        let entry = ImageJoinStreamingResponse { task_logs, entry_id: known.to_string(), ..Default::default() };
        Some((Ok(entry), Some((image, progress, known))))
    }))
}

fn line(data: String) -> TaskLogs {
    TaskLogs { data, timestamp: now(), file_descriptor: FileDescriptor::Info.into(), task_progress: None }
}

fn result<T>(done: &Result<Arc<T>, String>) -> GenericResult {
    let (status, exception) = match done {
        Ok(_) => (GenericStatus::Success, String::new()),
        Err(said) => (GenericStatus::Failure, said.clone()),
    };
    GenericResult { status: status.into(), exception, ..GenericResult::default() }
}

fn metadata(image: &Image) -> ImageMetadata {
    let image_builder_version = Some(image.builder_version.clone()).filter(|version| !version.is_empty());
    let workdir = image.made().ok().and_then(|made| made.workdir.clone());
    ImageMetadata { image_builder_version, workdir, ..ImageMetadata::default() }
}
