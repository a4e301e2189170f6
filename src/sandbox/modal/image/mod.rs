//! Images: built by Modal, layer by layer, and known by what stands in them. Modal keeps what it has built; here it is only
//! remembered which image that is.

mod awaited;
mod layers;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt as _;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tonic::Status;

pub(super) use self::layers::search_path;
use self::{awaited::Awaited, layers::Layer};
use super::{
    attempts::{self, Attempts},
    control::Control,
    home::Found,
};
use crate::{
    modal_wire::client::{
        BaseImage, GenericResult, GpuConfig, Image, ImageContextFile, ImageGetOrCreateRequest,
        ImageJoinStreamingRequest, ImageRegistryConfig, generic_result::GenericStatus,
    },
    sandbox::{Error, ImageContents, Progress},
};

/// How long one stream of a build's log lasts, in seconds.
const HELD: f32 = 55.0;
/// Builds that may be ended by Modal before that is an error.
const FAILURES: u32 = 3;
/// Between a stream that ended early and the next.
const PAUSE: Duration = Duration::from_secs(1);
/// How much of a line of a log is told.
const SHOWN: usize = 160;
/// How much of the end of a log is told of a build that failed, in bytes.
const TOLD: usize = 2000;

/// What is asked of an image.
#[derive(Clone, Debug)]
pub(super) struct Wanted<'a> {
    /// A registry's name; empty: ours.
    pub(super) base: &'a str,
    pub(super) workspace: &'a str,
    pub(super) contents: &'a ImageContents,
}

/// The images of one app, by the commands of their layers, which name files by their hash.
#[derive(Debug, Default)]
pub(super) struct Images(Mutex<HashMap<Commands, Arc<Awaited>>>);

type Commands = Vec<Vec<String>>;

impl Images {
    /// The id of an image with all that is wanted; built if Modal has none. Who wants the same one at the same time waits for
    /// the same build, and is told the same.
    pub(super) async fn get(
        &self,
        control: &Arc<Control>,
        home: &Found,
        wanted: &Wanted<'_>,
        progress: &Progress,
    ) -> Result<String, Error> {
        let layers = layers::of(wanted.base, wanted.workspace, wanted.contents);
        let image = {
            let commands = layers.iter().map(|layer| layer.commands.clone()).collect();
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(known.entry(commands).or_default())
        };
        let (control, home) = (Arc::clone(control), home.clone());
        let build = |said| {
            async move {
                let mut below = None;
                for (number, layer) in layers.iter().enumerate() {
                    let step = (number + 1, layers.len());
                    let building = Building { control: &control, home: &home, said: &said, step, layer };
                    below = Some(building.build(below).await?);
                }
                below.ok_or_else(|| Error::Unavailable("an image of nothing cannot be built".to_owned()))
            }
            .boxed()
        };
        image.get(build, progress).await
    }

    /// Asks again from now on: Modal may have dropped what it had.
    pub(super) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

struct Building<'a> {
    control: &'a Control,
    home: &'a Found,
    /// What takes its time, for all who wait.
    said: &'a watch::Sender<String>,
    step: (usize, usize),
    layer: &'a Layer,
}

/// A build that is over.
struct Built {
    result: GenericResult,
    /// The last that it said.
    said: String,
}

impl Building<'_> {
    /// The layer over the image below it.
    async fn build(&self, below: Option<String>) -> Result<String, Error> {
        let Layer { commands, files, project: _ } = self.layer;
        let mut dockerfile_commands = commands.clone();
        let base_images = match below {
            None => Vec::new(),
            Some(image_id) => {
                dockerfile_commands.insert(0, "FROM base".to_owned());
                vec![BaseImage { image_id, docker_tag: "base".to_owned() }]
            }
        };
        let file =
            |(name, data): &(&str, _)| ImageContextFile { filename: (*name).to_owned(), data: Bytes::clone(data) };
        let image = Image {
            base_images,
            dockerfile_commands,
            context_files: files.iter().map(file).collect(),
            gpu_config: Some(GpuConfig::default()),
            image_registry_config: Some(ImageRegistryConfig::default()),
            ..Image::default()
        };
        let request = ImageGetOrCreateRequest {
            image: Some(image),
            app_id: self.home.app_id.clone(),
            builder_version: self.home.builder_version.clone(),
            ..ImageGetOrCreateRequest::default()
        };
        for _ in 0..FAILURES {
            let asked = self.control.change(request.clone(), |mut control, request| async move {
                control.image_get_or_create(request).await
            });
            let answer = asked.await.map_err(|status| failed(status.message()))?;
            let Built { result, said } = match answer.result {
                Some(result) if result.status() == GenericStatus::Success => Built { result, said: String::new() },
                Some(_) | None => self.join(&answer.image_id).await.map_err(|status| failed(status.message()))?,
            };
            match result.status() {
                GenericStatus::Success => return Ok(answer.image_id),
                // Modal ended the build, not a command in it: asked again, it goes on.
                GenericStatus::Terminated => {}
                GenericStatus::Unspecified
                | GenericStatus::Failure
                | GenericStatus::Timeout
                | GenericStatus::InitFailure
                | GenericStatus::InternalFailure
                | GenericStatus::IdleTimeout
                | GenericStatus::MemoryManagerEviction
                | GenericStatus::MemoryThrashingEviction
                | GenericStatus::KernelOomKill => {
                    let why =
                        if result.exception.is_empty() { result.status().as_str_name() } else { &result.exception };
                    return Err(self.failed(why, &said));
                }
            }
        }
        Err(failed("Modal ended the build each time"))
    }

    /// What went wrong, as it concerns whoever can mend it.
    fn failed(&self, why: &str, said: &str) -> Error {
        match &self.layer.project {
            Some(project) if !project.install().is_empty() => Error::Install {
                server: project.name().to_owned(),
                command: project.install().to_owned(),
                said: format!("{said}{why}"),
            },
            Some(_) | None => failed(why),
        }
    }

    /// Follows a build to its end and tells of it.
    async fn join(&self, image_id: &str) -> Result<Built, Status> {
        let (step, steps) = self.step;
        let what = match &self.layer.project {
            None => format!("building the image ({step} of {steps})"),
            Some(project) => format!("building the image ({step} of {steps}), the tool server {}", project.name()),
        };
        self.say(what.clone());
        let (mut last_entry_id, mut said) = (String::new(), String::new());
        let mut attempts = Attempts::new(attempts::CONTROL);
        loop {
            let request = ImageJoinStreamingRequest {
                image_id: image_id.to_owned(),
                timeout: HELD,
                last_entry_id: last_entry_id.clone(),
                // What a project says is told when it fails, also if it did so before anybody listened.
                include_logs_for_finished: self.layer.project.is_some(),
            };
            let followed = async {
                let mut entries = self
                    .control
                    .stream(request, |mut control, request| async move { control.image_join_streaming(request).await })
                    .await?;
                while let Some(entry) = entries.message().await? {
                    if !entry.entry_id.is_empty() {
                        last_entry_id = entry.entry_id;
                    }
                    said.extend(entry.task_logs.iter().map(|log| log.data.as_str()));
                    said.drain(..said.ceil_char_boundary(said.len().saturating_sub(TOLD)));
                    let lines = entry.task_logs.iter().flat_map(|log| log.data.lines());
                    if let Some(line) = lines.map(str::trim).rfind(|line| !line.is_empty()) {
                        let line: String = line.chars().take(SHOWN).collect();
                        tracing::debug!(image_id, line, "building an image");
                        self.say(format!("{what}: {line}"));
                    }
                    if let Some(result) = entry.result.filter(over) {
                        return Ok(Some(result));
                    }
                }
                Ok(None)
            };
            let begun = Instant::now();
            match followed.await {
                Ok(Some(result)) => return Ok(Built { result, said }),
                Ok(None) => {
                    attempts.reset();
                    sleep(PAUSE.saturating_sub(begun.elapsed())).await;
                }
                Err(status) => match attempts.after(&status) {
                    Some(wait) => sleep(wait.max(PAUSE)).await,
                    None => return Err(status),
                },
            }
        }
    }

    fn say(&self, what: String) {
        self.said.send_replace(what);
    }
}

fn over(result: &GenericResult) -> bool {
    result.status() != GenericStatus::Unspecified
}

fn failed(why: &str) -> Error {
    Error::Unavailable(format!("Modal could not build the image of the sandbox: {why}"))
}
