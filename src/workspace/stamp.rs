//! What the file system says of an entry without reading it: enough to tell that nothing changed, or that it is the same
//! thing under another name. A stamp means something on this machine only and is never stored.

use rustix::{
    fs::{AtFlags, Statx, StatxFlags, StatxTimestamp, major, minor, statx},
    time::{ClockId, clock_gettime},
};

use crate::domain::Timestamp;

/// Kernels stamp files with a clock that moves in ticks of up to 10 ms, so that two changes within one look alike.
const TICK: i64 = 20_000_000;

/// The same where only whole seconds are kept.
const COARSE: i64 = 2_000_000_000;

const SECOND: i64 = 1_000_000_000;

/// What another machine's file system says of an entry of its own; times in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Which file system.
    pub device: u64,
    /// Which entry of it.
    pub inode: u64,
    /// Its bytes.
    pub size: u64,
    /// When the content last changed.
    pub modified: i64,
    /// When anything of it last changed.
    pub changed: i64,
}

/// How an entry looked from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: (u32, u32),
    inode: u64,
    /// When the inode was made, where the file system keeps that. Inodes are used again, and this tells them apart.
    born: Option<i64>,
    size: u64,
    modified: i64,
    changed: i64,
    /// A later change cannot leave the same stamp.
    settled: bool,
}

impl Stamp {
    /// Of what was found at a time when the clock said `now`.
    pub(super) fn new(stat: &Statx, now: i64) -> Self {
        let changed = nanos(&stat.stx_ctime);
        let born = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME);
        Self {
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            born: born.then(|| nanos(&stat.stx_btime)),
            size: stat.stx_size,
            modified: nanos(&stat.stx_mtime),
            changed,
            settled: is_settled(changed, now),
        }
    }

    /// Of what another machine told, whose clock said `now`. It cannot tell an inode that is used again from the same one.
    pub(super) fn told(told: &Told, now: i64) -> Self {
        let Told { device, inode, size, modified, changed } = *told;
        Self {
            device: (major(device), minor(device)),
            inode,
            born: None,
            size,
            modified,
            changed,
            settled: is_settled(changed, now),
        }
    }

    /// When anything of it last changed, and whether that is all that was to be seen of that moment.
    pub(super) fn reach(&self) -> (i64, bool) {
        (self.changed, self.settled)
    }

    /// Nothing touched it between the two looks.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Self { settled: false, ..*self } == Self { settled: false, ..*other }
    }

    /// The content that this stamp was taken of is still what is there: nothing touched it since, nor could it have been
    /// touched unseen. As in git, what changed at the time of the look itself is not trusted.
    pub(super) fn proves(&self, now: &Self) -> bool {
        self.settled && self.is_same(now)
    }

    /// The stamp of something that was changing while it was read.
    #[must_use]
    pub fn unsettled(self) -> Self {
        Self { settled: false, ..self }
    }

    /// What stays the same under another name; `None` where the file system cannot tell it from an inode used again.
    pub(super) fn identity(&self) -> Option<((u32, u32), u64, i64)> {
        Some((self.device, self.inode, self.born?))
    }
}

/// Whether whatever changes later gets another time.
fn is_settled(changed: i64, now: i64) -> bool {
    let grain = if changed % SECOND == 0 { COARSE } else { TICK };
    changed < now.saturating_sub(grain)
}

/// What the file system says of `name` in a directory, or of the descriptor itself where it is empty.
pub(super) fn look(dir: impl rustix::fd::AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<Statx> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT;
    statx(dir, name, flags, StatxFlags::BASIC_STATS | StatxFlags::BTIME)
}

/// The clock that files are stamped with.
pub(super) fn now() -> i64 {
    let time = clock_gettime(ClockId::RealtimeCoarse);
    time.tv_sec.saturating_mul(SECOND).saturating_add(time.tv_nsec)
}

/// When the content last changed.
pub(super) fn modify_time(stat: &Statx) -> Timestamp {
    Timestamp(nanos(&stat.stx_mtime).div_euclid(1000))
}

fn nanos(time: &StatxTimestamp) -> i64 {
    time.tv_sec.saturating_mul(SECOND).saturating_add(i64::from(time.tv_nsec))
}
