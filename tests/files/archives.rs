//! Archives, good ones and others.

use std::{
    fs::{self, File},
    io::{Cursor, Seek as _, Write},
    path::PathBuf,
};

use agent_runtime::{
    domain::ArchiveFormat,
    workspace::{ArchiveLimits, Error, unpack},
};
use flate2::{Compression, write::GzEncoder};
use tar::{Builder, EntryType, Header};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::ground::{Found, Ground, dump};

/// An entry of an archive that a test writes, whatever it is.
#[derive(Clone)]
pub(crate) struct Item<'a> {
    pub(crate) path: &'a str,
    pub(crate) sort: EntryType,
    pub(crate) content: &'a [u8],
    pub(crate) link: &'a str,
    pub(crate) mode: u32,
}

pub(crate) fn file<'a>(path: &'a str, content: &'a str) -> Item<'a> {
    Item { path, sort: EntryType::Regular, content: content.as_bytes(), link: "", mode: 0o644 }
}

pub(crate) fn folder(path: &str) -> Item<'_> {
    Item { path, sort: EntryType::Directory, content: b"", link: "", mode: 0o755 }
}

pub(crate) fn link<'a>(path: &'a str, target: &'a str) -> Item<'a> {
    Item { path, sort: EntryType::Symlink, content: b"", link: target, mode: 0o777 }
}

/// Written as it is: the crate's own ways refuse what must be refused here.
pub(crate) fn tar_of(items: &[Item<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for item in items {
        let mut header = Header::new_gnu();
        for (field, bytes, name) in [(0, item.path.as_bytes(), b'L'), (157, item.link.as_bytes(), b'K')] {
            if bytes.len() > 100 {
                let mut long = Header::new_gnu();
                long.as_mut_bytes()[..13].copy_from_slice(b"././@LongLink");
                long.set_entry_type(EntryType::new(name));
                long.set_size(bytes.len() as u64 + 1);
                long.set_mode(0);
                long.set_cksum();
                builder.append(&long, &[bytes, b"\0"].concat()[..]).expect("written");
            }
            let short = &bytes[..bytes.len().min(100)];
            header.as_mut_bytes()[field..field + short.len()].copy_from_slice(short);
        }
        header.set_entry_type(item.sort);
        header.set_size(item.content.len() as u64);
        header.set_mode(item.mode);
        header.set_cksum();
        builder.append(&header, item.content).expect("written");
    }
    builder.into_inner().expect("finished")
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("packed");
    encoder.finish().expect("packed")
}

fn zip_of(write: impl FnOnce(&mut ZipWriter<Cursor<Vec<u8>>>)) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    write(&mut writer);
    writer.finish().expect("finished").into_inner()
}

fn options() -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(CompressionMethod::Deflated)
}

fn unpack_into(ground: &Ground, format: ArchiveFormat, bytes: &[u8], under: &str) -> Result<usize, Error> {
    unpack_within(ground, format, bytes, under, ArchiveLimits::default())
}

fn unpack_within(
    ground: &Ground,
    format: ArchiveFormat,
    bytes: &[u8],
    under: &str,
    limits: ArchiveLimits,
) -> Result<usize, Error> {
    let mut archive: File = tempfile::tempfile().expect("a file");
    archive.write_all(bytes).expect("written");
    archive.rewind().expect("rewound");
    let done = unpack(&ground.folder(), format, archive, under, limits);
    ground.nothing_staged();
    done
}

/// Refused, by a word, with nothing changed.
fn refused(ground: &Ground, format: ArchiveFormat, bytes: &[u8], word: &str) {
    let before = dump(&ground.root());
    let error = unpack_into(ground, format, bytes, "").expect_err(word);
    assert!(error.to_string().contains(word), "{word:?}: {error}");
    assert_eq!(dump(&ground.root()), before);
}

#[test]
fn good_archives() {
    let long = format!("long/{}/{}", "d".repeat(120), "n".repeat(120));
    let items = [
        folder("./"),
        file("./a.txt", "1"),
        Item { mode: 0o4755, ..file("bin/run", "2") },
        Item { mode: 0o500, ..folder("empty/") },
        file(&long, "3"),
        link("bin/up", "../a.txt"),
        link("dangling", "no/where"),
        Item { sort: EntryType::Link, link: "./a.txt", ..file("same", "") },
        // The last of one path counts.
        file("twice", "old"),
        file("twice", "new"),
    ];
    let tar = tar_of(&items);
    let zip = zip_of(|zip| {
        let add = |zip: &mut ZipWriter<_>, path: &str, text: &str, options| {
            zip.start_file(path, options).expect("begun");
            zip.write_all(text.as_bytes()).expect("written");
        };
        add(zip, "a.txt", "1", options());
        add(zip, "bin/run", "2", options().unix_permissions(0o755));
        zip.add_directory("empty/", options().unix_permissions(0o500)).expect("added");
        add(zip, &long, "3", options().compression_method(CompressionMethod::Stored));
        zip.add_symlink("bin/up", "../a.txt", options()).expect("added");
        zip.add_symlink("dangling", "no/where", options()).expect("added");
        add(zip, "same", "1", options());
        add(zip, "twice", "new", options());
    });
    for (format, bytes) in
        [(ArchiveFormat::Tar, tar.clone()), (ArchiveFormat::TarGz, gz(&tar)), (ArchiveFormat::Zip, zip)]
    {
        let ground = Ground::new();
        ground.write("kept", "there before");
        ground.write("bin/kept", "there before");
        ground.write("a.txt", "replaced");
        let count = unpack_into(&ground, format, &bytes, "").expect("unpacked");
        assert_eq!(count, 7, "{format:?}");
        let mut found = dump(&ground.root());
        found.retain(|path, _| path.components().count() < 3);
        let text = |mode, text: &str| Found::File(mode, text.as_bytes().to_vec());
        let expected = [
            ("a.txt", text(0o644, "1")),
            ("bin", Found::Directory(0o755)),
            ("bin/kept", text(0o644, "there before")),
            ("bin/run", text(0o755, "2")),
            ("bin/up", Found::Link("../a.txt".into())),
            ("dangling", Found::Link("no/where".into())),
            ("empty", Found::Directory(0o500)),
            ("kept", text(0o644, "there before")),
            ("long", Found::Directory(0o755)),
            ("same", text(0o644, "1")),
            ("twice", text(0o644, "new")),
        ];
        let long_folder = PathBuf::from(&long).parent().expect("a parent").to_owned();
        found.remove(&long_folder);
        assert_eq!(found, expected.map(|(path, found)| (PathBuf::from(path), found)).into(), "{format:?}");
        assert_eq!(fs::read_to_string(ground.path(&long)).expect("read"), "3");
    }
}

#[test]
fn under_a_folder() {
    let ground = Ground::new();
    let tar = tar_of(&[file("x", "1"), link("up", "../../top")]);
    unpack_into(&ground, ArchiveFormat::Tar, &tar, "a/b").expect("unpacked");
    assert_eq!(fs::read_to_string(ground.path("a/b/x")).expect("read"), "1");
    // From there it stays inside; from the top it would not.
    refused(&ground, ArchiveFormat::Tar, &tar, "leaves the workspace");
    for under in ["../x", "/x", "a/../b", "a\0"] {
        assert!(matches!(unpack_into(&ground, ArchiveFormat::Tar, &tar, under), Err(Error::Path { .. })), "{under:?}");
    }
    ground.link("elsewhere", "a");
    assert!(unpack_into(&ground, ArchiveFormat::Tar, &tar, "elsewhere").is_err());
    assert!(unpack_into(&ground, ArchiveFormat::Tar, &tar, "elsewhere/b").is_err());
}

#[test]
fn what_leaves_is_refused_by_name() {
    let ground = Ground::new();
    ground.write("kept", "kept");
    let cases: Vec<(Vec<Item<'_>>, &str)> = vec![
        (vec![file("good", "1"), file("../evil", "x")], "\"../evil\" is refused: no .. part"),
        (vec![file("good", "1"), file("/etc/evil", "x")], "\"/etc/evil\" is refused: relative to the workspace"),
        (vec![file("a/../../evil", "x")], "part"),
        (vec![folder("..")], "part"),
        (vec![link("evil", "/etc/passwd")], "\"evil\" is a link to \"/etc/passwd\", which leaves"),
        (vec![link("evil", "..")], "leaves"),
        (vec![link("a/evil", "../../x")], "leaves"),
        // How far up this leads depends on what `c` is.
        (vec![link("a/b/evil", "c/../x")], "leaves"),
        (vec![folder("d"), link("d/l", "."), link("evil", "d/l/../../x")], "leaves"),
        (vec![link("d", "."), file("d/x", "x")], "lies in what is no directory"),
        (vec![file("d", "x"), file("d/x", "x")], "lies in what is no directory"),
        (vec![file("d", "x"), folder("d")], "comes twice"),
        (vec![file("d/x", "x"), link("d", ".")], "comes twice"),
        (vec![Item { sort: EntryType::Link, link: "../../etc/passwd", ..file("evil", "") }], "part"),
        (vec![Item { sort: EntryType::Link, link: "/etc/passwd", ..file("evil", "") }], "leading /"),
        (vec![Item { sort: EntryType::Link, link: "kept", ..file("evil", "") }], "which is no file before it"),
        (vec![link("l", "x"), Item { sort: EntryType::Link, link: "l", ..file("evil", "") }], "which is no file"),
        (vec![Item { sort: EntryType::Char, ..file("evil", "") }], "a device"),
        (vec![Item { sort: EntryType::Block, ..file("evil", "") }], "a device"),
        (vec![Item { sort: EntryType::Fifo, ..file("evil", "") }], "a pipe"),
        (vec![Item { sort: EntryType::GNUSparse, ..file("evil", "") }], "sparse"),
        (vec![Item { sort: EntryType::new(b'Z'), ..file("evil", "") }], "a sort that is not known"),
        (vec![file("", "x")], "must not be empty"),
        (vec![file("./", "x")], "has no name"),
    ];
    for (items, word) in &cases {
        let tar = tar_of(items);
        // A name that ends in "/" is a folder for old archives, so the last case is none.
        if *word == "has no name" && items[0].path == "./" {
            assert_eq!(unpack_into(&ground, ArchiveFormat::Tar, &tar, ""), Ok(0));
            continue;
        }
        refused(&ground, ArchiveFormat::Tar, &tar, word);
        refused(&ground, ArchiveFormat::TarGz, &gz(&tar), word);
    }
    // The writer puts names right: so one of the same length is written, and replaced where it stands.
    let named = |path: &str| {
        let stand_in = "N".repeat(path.len());
        let mut bytes = zip_of(|zip| {
            zip.start_file("good", options()).expect("begun");
            zip.write_all(b"1").expect("written");
            zip.start_file(&*stand_in, options()).expect("begun");
        });
        while let Some(at) = bytes.windows(path.len()).position(|part| part == stand_in.as_bytes()) {
            bytes[at..at + path.len()].copy_from_slice(path.as_bytes());
        }
        bytes
    };
    for (path, word) in [("../evil-one", "part"), ("/etc/evil-one", "leading /"), ("good/evil-one", "no directory")] {
        refused(&ground, ArchiveFormat::Zip, &named(path), word);
    }
    let links = zip_of(|zip| zip.add_symlink("evil", "../../etc", options()).expect("added"));
    refused(&ground, ArchiveFormat::Zip, &links, "leaves");
}

#[test]
fn bombs_are_refused() {
    let ground = Ground::new();
    ground.write("kept", "kept");
    let zeros = "\0".repeat(3000);
    let limits = ArchiveLimits { entries: 10, bytes: 2000, ratio: 200 };
    let within = |format, bytes: &[u8]| unpack_within(&ground, format, bytes, "", limits).expect_err("over a limit");
    let tar = tar_of(&[file("a", &zeros)]);
    assert!(matches!(within(ArchiveFormat::TarGz, &gz(&tar)), Error::TooLarge { limit: 2000, .. }));
    // In many parts as well.
    let names: Vec<String> = (0..9).map(|at| at.to_string()).collect();
    let parts: Vec<_> = names.iter().map(|name| file(name, &zeros[..300])).collect();
    assert!(matches!(within(ArchiveFormat::Tar, &tar_of(&parts)), Error::TooLarge { limit: 2000, .. }));
    let many: Vec<String> = (0..11).map(|at| at.to_string()).collect();
    let many: Vec<_> = many.iter().map(|name| folder(name)).collect();
    assert!(matches!(within(ArchiveFormat::Tar, &tar_of(&many)), Error::TooLarge { limit: 10, .. }));
    let zip = zip_of(|zip| {
        zip.start_file("a", options()).expect("begun");
        zip.write_all(zeros.as_bytes()).expect("written");
    });
    assert!(matches!(within(ArchiveFormat::Zip, &zip), Error::TooLarge { limit: 2000, .. }));
    // Far larger than it came.
    let large = vec![0; 70 << 20];
    let bomb = gz(&tar_of(&[Item { content: &large, ..file("a", "") }]));
    refused(&ground, ArchiveFormat::TarGz, &bomb, "more than 200 times larger");
    // Names that would fill the memory.
    let name = "n".repeat(2 << 20);
    refused(&ground, ArchiveFormat::Tar, &tar_of(&[file(&name, "x")]), "a header of 2097153 bytes");
    // What follows the end.
    let mut tail = tar_of(&[file("a", "x")]);
    tail.extend(vec![0; 4 << 20]);
    refused(&ground, ArchiveFormat::TarGz, &gz(&tail), "goes on behind its end");
}

#[test]
fn damage_is_refused() {
    let ground = Ground::new();
    ground.write("kept", "kept");
    let tar = tar_of(&[file("a", "1"), file("b", &"2".repeat(5000))]);
    let packed = gz(&tar);
    refused(&ground, ArchiveFormat::Tar, &tar[..3000], "");
    refused(&ground, ArchiveFormat::TarGz, &packed[..packed.len() - 5], "");
    let mut wrong = packed.clone();
    let at = wrong.len() - 6;
    wrong[at] ^= 1;
    refused(&ground, ArchiveFormat::TarGz, &wrong, "");
    refused(&ground, ArchiveFormat::TarGz, &tar, "");
    refused(&ground, ArchiveFormat::Tar, &packed, "");
    refused(&ground, ArchiveFormat::Zip, &tar, "");
    let zip = zip_of(|zip| {
        zip.start_file("a", options().compression_method(CompressionMethod::Stored)).expect("begun");
        zip.write_all(b"content").expect("written");
    });
    let mut wrong = zip.clone();
    let at = zip.windows(7).position(|part| part == b"content").expect("there");
    wrong[at] ^= 1;
    refused(&ground, ArchiveFormat::Zip, &wrong, "");
    refused(&ground, ArchiveFormat::Zip, &zip[..zip.len() - 3], "");
}

/// What is in the way refuses the whole archive before anything is moved.
#[test]
fn conflicts_change_nothing() {
    let ground = Ground::new();
    ground.write("folder/x", "kept");
    ground.write("file", "kept");
    ground.link("link", "folder");
    for (item, word) in [
        (file("folder", "new"), "\"folder\" is a directory, not a file"),
        (link("folder", "x"), "\"folder\" is a directory, not a link"),
        (folder("file"), "\"file\" is a file, not a directory"),
        (file("file/x", "new"), "\"file\" is a file, not a directory"),
        // Nobody writes through a link that was there.
        (file("link/x", "new"), "\"link\" is a link, not a directory"),
    ] {
        refused(&ground, ArchiveFormat::Tar, &tar_of(&[file("a", "new"), item, file("z", "new")]), word);
    }
    // A link is replaced by what has its path.
    unpack_into(&ground, ArchiveFormat::Tar, &tar_of(&[file("link", "new")]), "").expect("unpacked");
    assert_eq!(fs::read_to_string(ground.path("link")).expect("read"), "new");
    assert_eq!(fs::read_to_string(ground.path("folder/x")).expect("read"), "kept");
}
