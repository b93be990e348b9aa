/* Counts what a process does to the files of one folder, and strikes at one operation.

   Preloaded into Python, so that SQLite's own writes and syncs count as well. `shim_arm` begins to count;
   operation `at` (counted from 1) is then met with `mode`: */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { COUNT, KILL_BEFORE, KILL_AFTER, KILL_IN_THE_MIDDLE, FULL_FROM_HERE };
#define KILLED 99

static char folder[PATH_MAX];
static int mode, at, count;
static char kinds[65536];

void shim_arm(const char *path, int new_mode, int new_at) {
  snprintf(folder, sizeof folder, "%s", path);
  mode = new_mode;
  at = new_at;
  count = 0;
  memset(kinds, 0, sizeof kinds);
}

/* One letter for each operation so far: w for a write, o for another. */
const char *shim_kinds(void) { return kinds; }

static int inside(const char *path) { return folder[0] && strncmp(path, folder, strlen(folder)) == 0; }

static int inside_fd(int fd) {
  char link[64], path[PATH_MAX];
  if (!folder[0]) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return inside(path);
}

/* Returns 1 where the disk is full for this operation. */
static int begin(int mine, char kind) {
  if (!mine || count + 1 >= (int)sizeof kinds) return 0;
  kinds[count++] = kind;
  if (mode == KILL_BEFORE && count == at) _exit(KILLED);
  return mode == FULL_FROM_HERE && count >= at;
}

static void end(int mine) {
  if (mine && mode == KILL_AFTER && count == at) _exit(KILLED);
}

#define REAL(type, name, ...)                                 \
  static type (*real)(__VA_ARGS__);                           \
  int saved_errno;                                            \
  if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)
#define STRIKE(mine, kind, call) \
  if (begin(mine, kind)) {       \
    errno = ENOSPC;              \
    return -1;                   \
  }                              \
  __auto_type result = call;     \
  saved_errno = errno;           \
  end(mine);                     \
  errno = saved_errno;           \
  return result

#define WRITE(name, rest, names)                                                        \
  ssize_t name(int fd, const void *data, size_t size rest) {                            \
    REAL(ssize_t, #name, int, const void *, size_t rest);                               \
    int mine = inside_fd(fd);                                                           \
    if (mine && mode == KILL_IN_THE_MIDDLE && count + 1 == at) {                        \
      real(fd, data, size / 2 names);                                                   \
      _exit(KILLED);                                                                    \
    }                                                                                   \
    STRIKE(mine, 'w', real(fd, data, size names));                                         \
  }
#define COMMA ,
WRITE(write, , )
WRITE(pwrite, COMMA off_t offset, COMMA offset)
WRITE(pwrite64, COMMA off64_t offset, COMMA offset)

#define ON_FD(name, rest, names)                      \
  int name(int fd rest) {                             \
    REAL(int, #name, int rest);                       \
    int mine = inside_fd(fd);                         \
    STRIKE(mine, 'o', real(fd names));                     \
  }
ON_FD(fsync, , )
ON_FD(fdatasync, , )
ON_FD(ftruncate, COMMA off_t length, COMMA length)
ON_FD(ftruncate64, COMMA off64_t length, COMMA length)

#define ON_PATH(name, rest, names)                    \
  int name(const char *path rest) {                   \
    REAL(int, #name, const char *rest);               \
    int mine = inside(path);                          \
    STRIKE(mine, 'o', real(path names));                   \
  }
ON_PATH(mkdir, COMMA mode_t permissions, COMMA permissions)
ON_PATH(rename, COMMA const char *to, COMMA to)

/* What gives room back works on a full disk, too. */
#define REMOVE(name, arguments, types, names, is_mine) \
  int name arguments {                                 \
    REAL(int, #name, types);                           \
    int mine = is_mine;                                \
    begin(mine, 'o');                                     \
    int result = real names;                           \
    saved_errno = errno;                               \
    end(mine);                                         \
    errno = saved_errno;                               \
    return result;                                     \
  }
REMOVE(unlink, (const char *path), const char *, (path), inside(path))
REMOVE(rmdir, (const char *path), const char *, (path), inside(path))
REMOVE(unlinkat, (int fd, const char *path, int flags), int COMMA const char *COMMA int, (fd, path, flags),
       inside_fd(fd))

#define OPEN(name)                                                     \
  int name(const char *path, int flags, ...) {                         \
    REAL(int, #name, const char *, int, ...);                          \
    va_list rest;                                                      \
    va_start(rest, flags);                                             \
    mode_t permissions = flags & O_CREAT ? va_arg(rest, mode_t) : 0;   \
    va_end(rest);                                                      \
    int mine = flags & O_CREAT && inside(path);                        \
    STRIKE(mine, 'o', real(path, flags, permissions));                      \
  }
OPEN(open)
OPEN(open64)
