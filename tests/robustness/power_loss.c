/* Stands in front of the C library and keeps, for every file below POWER_FOLDER, an image below POWER_IMAGE with only
 * what was flushed by fsync or fdatasync. What is written goes to the real file as ever; which part of it is new is noted,
 * and a flush that succeeds copies that part. Files whose names end in POWER_FORGET are flushed and not copied: a disk
 * that lies. Shared memory of SQLite (-shm) is no part of the image, as it is none of the disk. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES 4096

struct dirty { dev_t dev; ino_t ino; off_t from, to; int used; };

static struct dirty files[FILES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ({ static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name); real; })

static const char *folder(void) { return getenv("POWER_FOLDER"); }

static int ends(const char *text, const char *end) {
    size_t a = strlen(text), b = end ? strlen(end) : 0;
    return b && a >= b && !strcmp(text + a - b, end);
}

/* Where the image of this path lies. 0: it has none. */
static int image_of(const char *path, char *image) {
    const char *base = folder(), *to = getenv("POWER_IMAGE");
    size_t length;
    if (!base || !to || ends(path, "-shm")) return 0;
    length = strlen(base);
    if (strncmp(path, base, length) || path[length] != '/') return 0;
    return snprintf(image, PATH_MAX, "%s%s", to, path + length) < PATH_MAX;
}

static int path_of(int fd, char *path) {
    char link[64];
    ssize_t length;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return path[0] == '/';
}

static struct dirty *find(int fd) {
    struct stat st;
    size_t at, step;
    if (REAL(fstat)(fd, &st) || !S_ISREG(st.st_mode)) return NULL;
    at = (size_t)(st.st_ino * 2654435761u) % FILES;
    for (step = 0; step < FILES; step++, at = (at + 1) % FILES) {
        struct dirty *file = &files[at];
        if (file->used && (file->dev != st.st_dev || file->ino != st.st_ino)) continue;
        if (!file->used) *file = (struct dirty){ st.st_dev, st.st_ino, 0, 0, 1 };
        return file;
    }
    abort();
}

static void written(int fd, off_t from, off_t to) {
    struct dirty *file;
    if (!folder() || from >= to) return;
    pthread_mutex_lock(&lock);
    if ((file = find(fd))) {
        if (file->from == file->to) { file->from = from; file->to = to; }
        if (from < file->from) file->from = from;
        if (to > file->to) file->to = to;
    }
    pthread_mutex_unlock(&lock);
}

static void make_parents(char *path) {
    char *at;
    for (at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) { *at = 0; mkdir(path, 0700); *at = '/'; }
}

/* The new part of a file goes into its image, and its length. */
static void flushed(int fd) {
    char path[PATH_MAX], image[PATH_MAX], name[64];
    static char buffer[1 << 16];
    struct dirty *file;
    struct stat st;
    int in, out;
    off_t at;
    if (!folder() || !path_of(fd, path) || !image_of(path, image) || ends(path, getenv("POWER_FORGET"))) return;
    pthread_mutex_lock(&lock);
    file = find(fd);
    /* The descriptor may be open for writing only. */
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    make_parents(image);
    in = REAL(open)(name, O_RDONLY | O_CLOEXEC);
    out = REAL(open)(image, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (file && in >= 0 && out >= 0 && !fstat(in, &st)) {
        off_t to = file->to < st.st_size ? file->to : st.st_size;
        for (at = file->from; at < to;) {
            size_t want = sizeof buffer < (size_t)(to - at) ? sizeof buffer : (size_t)(to - at);
            ssize_t got = pread(in, buffer, want, at);
            if (got <= 0 || REAL(pwrite)(out, buffer, (size_t)got, at) != got) break;
            at += got;
        }
        if (REAL(ftruncate)(out, st.st_size)) abort();
        file->from = file->to = 0;
    }
    if (in >= 0) close(in);
    if (out >= 0) close(out);
    pthread_mutex_unlock(&lock);
}

ssize_t write(int fd, const void *data, size_t size) {
    off_t from = folder() ? lseek(fd, 0, SEEK_CUR) : -1;
    ssize_t done = REAL(write)(fd, data, size);
    if (done > 0 && from >= 0) {
        off_t to = lseek(fd, 0, SEEK_CUR); /* Of a file that is appended to the place is known only now. */
        written(fd, to - done, to);
    }
    return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    ssize_t done = REAL(writev)(fd, parts, count);
    off_t to = done > 0 && folder() ? lseek(fd, 0, SEEK_CUR) : -1;
    if (to >= 0) written(fd, to - done, to);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    ssize_t done = REAL(pwrite)(fd, data, size, at);
    if (done > 0) written(fd, at, at + done);
    return done;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    ssize_t done = REAL(pwrite64)(fd, data, size, at);
    if (done > 0) written(fd, at, at + done);
    return done;
}

/* Everything behind the new end is new, whatever grows there again. */
int ftruncate(int fd, off_t size) {
    int done = REAL(ftruncate)(fd, size);
    if (!done) written(fd, size, (off_t)1 << 60);
    return done;
}

int ftruncate64(int fd, off64_t size) {
    int done = REAL(ftruncate64)(fd, size);
    if (!done) written(fd, size, (off_t)1 << 60);
    return done;
}

int fsync(int fd) {
    int done = REAL(fsync)(fd);
    if (!done) flushed(fd);
    return done;
}

int fdatasync(int fd) {
    int done = REAL(fdatasync)(fd);
    if (!done) flushed(fd);
    return done;
}

static int opened(int fd, int flags) {
    if (fd >= 0 && (flags & O_TRUNC)) written(fd, 0, (off_t)1 << 60);
    return fd;
}

#define MODE mode_t mode = 0; if (flags & (O_CREAT | __O_TMPFILE)) { va_list ap; va_start(ap, flags); mode = va_arg(ap, mode_t); va_end(ap); }

int open(const char *path, int flags, ...) { MODE return opened(REAL(open)(path, flags, mode), flags); }
int open64(const char *path, int flags, ...) { MODE return opened(REAL(open64)(path, flags, mode), flags); }
int openat(int at, const char *path, int flags, ...) { MODE return opened(REAL(openat)(at, path, flags, mode), flags); }
int openat64(int at, const char *path, int flags, ...) { MODE return opened(REAL(openat64)(at, path, flags, mode), flags); }

/* Names change on the disk at once: what was not flushed under the old name is not there under the new one. */
int unlink(const char *path) {
    char image[PATH_MAX];
    int fd = folder() && image_of(path, image) ? REAL(open)(path, O_RDONLY | O_CLOEXEC) : -1;
    int done = REAL(unlink)(path);
    if (fd >= 0) {
        struct dirty *file;
        pthread_mutex_lock(&lock);
        if (!done && (file = find(fd))) file->from = file->to = 0;
        pthread_mutex_unlock(&lock);
        close(fd);
    }
    if (!done && folder() && image_of(path, image)) REAL(unlink)(image);
    return done;
}

int rename(const char *from, const char *to) {
    char before[PATH_MAX], after[PATH_MAX];
    int done = REAL(rename)(from, to);
    if (!done && folder() && image_of(from, before) && image_of(to, after)) {
        REAL(unlink)(after);
        make_parents(after);
        REAL(rename)(before, after);
    }
    return done;
}
