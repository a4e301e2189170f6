//! `files`: what a session's workspace holds.

use std::{
    fs::Permissions,
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use tempfile::NamedTempFile;
use tokio::io::AsyncReadExt as _;

use super::{
    connect::Common,
    error::{Error, context},
    output::{self, one_line, print_json, word},
};
use crate::{
    client::{Client, FileBytes},
    proto::{ArchiveFormat, DeleteFileRequest, ListFilesRequest, ReadFileRequest, UploadFileHeader, WorkspaceFile},
};

/// Bytes that are read from a file at once.
const PIECE: usize = 256 << 10;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the files of a session's workspace.
    List {
        /// Of which session.
        session: String,
        /// Only what lies below this folder.
        #[arg(default_value = "")]
        folder: String,
    },
    /// Read a file.
    Get {
        /// Of which session.
        session: String,
        /// Which.
        path: String,
        /// Where to write it. Else standard output.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Write a file, or unpack an archive.
    Put {
        /// Of which session.
        session: String,
        /// What to send; `-` reads standard input.
        file: PathBuf,
        /// Where to; with --unpack the folder. Else the name that the file has here.
        path: Option<String>,
        /// It is an archive.
        #[arg(long, value_enum, value_name = "FORMAT")]
        unpack: Option<Format>,
        /// Permission bits in octal, such as 755. Else 644.
        #[arg(long, value_parser = |text: &str| u32::from_str_radix(text, 8), conflicts_with = "unpack")]
        mode: Option<u32>,
    },
    /// Delete a file, a link or an empty folder.
    Rm {
        /// Of which session.
        session: String,
        /// Which.
        path: String,
    },
}

/// How an archive is packed.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Format {
    /// tar, not compressed.
    Tar,
    /// tar with gzip.
    TarGz,
    /// zip.
    Zip,
}

pub(super) async fn run(common: &Common, command: Command) -> Result<(), Error> {
    let connection = common.connect().await?;
    let client = &connection.client;
    match command {
        Command::List { session, folder } => list(client, common.json, session, folder).await,
        Command::Get { session, path, output } => {
            let request = ReadFileRequest { session_id: session, path, ..ReadFileRequest::default() };
            let (read, bytes) = client.read_file(request).await?;
            match output {
                Some(file) => save(bytes, read.mode, &file).await,
                None => copy(bytes, &mut io::stdout().lock()).await,
            }
        }
        Command::Put { session, file, path, unpack, mode } => {
            let header = UploadFileHeader {
                session_id: session,
                path: target(&file, path, unpack)?,
                mode: mode.unwrap_or_default(),
                unpack: unpack.map_or(ArchiveFormat::Unspecified, ArchiveFormat::from).into(),
                ..UploadFileHeader::default()
            };
            put(client, common.json, header, &file).await
        }
        Command::Rm { session, path } => {
            let request = DeleteFileRequest { session_id: session, path, ..DeleteFileRequest::default() };
            client.delete_file(request).await?;
            Ok(())
        }
    }
}

async fn list(client: &Client, json: bool, session_id: String, prefix: String) -> Result<(), Error> {
    let mut rows = vec![["MODE", "SIZE", "PATH"].map(str::to_owned)];
    let mut page_token = String::new();
    loop {
        let (session_id, prefix) = (session_id.clone(), prefix.clone());
        let page = client.list_files(ListFilesRequest { session_id, prefix, page_size: 1000, page_token }).await?;
        for file in &page.files {
            if json { print_json("WorkspaceFile", file)? } else { rows.push(row(file)) }
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if !json {
        output::table(&mut anstream::stdout(), &rows)?;
    }
    Ok(())
}

fn row(file: &WorkspaceFile) -> [String; 3] {
    let path = one_line(&file.path, 200);
    let path = match file.symlink_target.as_str() {
        "" => path,
        target => format!("{path} -> {}", one_line(target, 200)),
    };
    let size = match word(file.r#type().as_str_name(), "FILE_TYPE_") {
        sort if sort == "file" => file.size_bytes.to_string(),
        sort => sort,
    };
    [format!("{:03o}", file.mode), size, path]
}

/// Writes what comes, piece by piece.
async fn copy(mut bytes: FileBytes, out: &mut impl io::Write) -> Result<(), Error> {
    while let Some(piece) = bytes.next().await {
        out.write_all(&piece?)?;
    }
    Ok(out.flush()?)
}

/// Writes a file when all of it came, and not before.
async fn save(bytes: FileBytes, mode: u32, file: &Path) -> Result<(), Error> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = || context(format!("cannot write {}", file.display()));
    let mut beside = NamedTempFile::new_in(folder).map_err(failed())?;
    copy(bytes, &mut beside).await?;
    beside.as_file().set_permissions(Permissions::from_mode(mode)).map_err(failed())?;
    beside.persist(file).map(drop).map_err(|error| failed()(error.error))
}

/// Where a file goes that says nothing of it.
fn target(file: &Path, path: Option<String>, unpack: Option<Format>) -> Result<String, Error> {
    if let Some(path) = path {
        return Ok(path);
    }
    if unpack.is_some() {
        return Ok(String::new());
    }
    let name = file.file_name().and_then(|name| name.to_str()).filter(|name| *name != "-");
    name.map(str::to_owned).ok_or_else(|| Error::Other("say where to write it: files put SESSION FILE PATH".to_owned()))
}

async fn put(client: &Client, json: bool, header: UploadFileHeader, file: &Path) -> Result<(), Error> {
    // Kept, because it may be sent again.
    let input = (file == Path::new("-")).then(kept_input).transpose()?;
    let file = input.as_ref().map_or(file, NamedTempFile::path);
    tokio::fs::metadata(file).await.map_err(context(format_args!("cannot read {}", file.display())))?;
    let written = client.upload_file(header, || pieces(file.to_owned())).await?;
    if json {
        print_json("UploadFileResponse", &written)?;
    } else if let Some(file) = written.file {
        anstream::println!("{}", one_line(&file.path, 1024));
    } else {
        anstream::println!("{} files", written.file_count);
    }
    Ok(())
}

fn kept_input() -> Result<NamedTempFile, Error> {
    let mut kept = NamedTempFile::new()?;
    io::copy(&mut io::stdin().lock(), &mut kept)?;
    kept.flush()?;
    Ok(kept)
}

/// A file, piece by piece.
fn pieces(path: PathBuf) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::try_unfold((path, None), |(path, open)| async move {
        let mut file = match open {
            Some(file) => file,
            None => tokio::fs::File::open(&path).await?,
        };
        let mut piece = vec![0; PIECE];
        let read = file.read(&mut piece).await?;
        piece.truncate(read);
        Ok((read > 0).then(|| (Bytes::from(piece), (path, Some(file)))))
    })
}

impl From<Format> for ArchiveFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Tar => Self::Tar,
            Format::TarGz => Self::TarGz,
            Format::Zip => Self::Zip,
        }
    }
}
