// Preloaded into head and workers: a disk with faults, with the rest of the machine as it is. The control file holds two numbers: how many
// milliseconds longer every write to a regular file and every sync takes, and 1 where writes to files below the disk's folder find no space.
// (Where a tmpfs can be mounted, a real one is filled up instead.)
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

namespace {

template <typename F>
F next(const char* name) {
  return reinterpret_cast<F>(dlsym(RTLD_NEXT, name));
}

bool lies_below(const char* folder, int file) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  const ssize_t length = readlink(link, path, sizeof path);
  const size_t folder_length = strlen(folder);
  return length > static_cast<ssize_t>(folder_length) && strncmp(path, folder, folder_length) == 0 && path[folder_length] == '/';
}

// Waits as long as the disk is slow. False where the disk is full: errno says so.
bool admit(int file, bool is_write) {
  static const char* const control = getenv("METAQUERY_CHAOS_DISK_CONTROL");
  static const char* const folder = getenv("METAQUERY_CHAOS_DISK");
  struct stat about;
  if (control == nullptr || folder == nullptr || access(control, R_OK) != 0 || fstat(file, &about) != 0 || !S_ISREG(about.st_mode)) return true;
  FILE* stream = fopen(control, "re");
  if (stream == nullptr) return true;
  int milliseconds = 0, is_full = 0;
  if (fscanf(stream, "%d %d", &milliseconds, &is_full) != 2) milliseconds = is_full = 0;
  fclose(stream);
  if (milliseconds > 0) usleep(static_cast<useconds_t>(milliseconds) * 1000);
  if (!is_full || !is_write || !lies_below(folder, file)) return true;
  errno = ENOSPC;
  return false;
}

}  // namespace

extern "C" {

int fsync(int file) {
  static const auto real = next<int (*)(int)>("fsync");
  return admit(file, false) ? real(file) : -1;
}

int fdatasync(int file) {
  static const auto real = next<int (*)(int)>("fdatasync");
  return admit(file, false) ? real(file) : -1;
}

ssize_t write(int file, const void* bytes, size_t count) {
  static const auto real = next<ssize_t (*)(int, const void*, size_t)>("write");
  return admit(file, true) ? real(file, bytes, count) : -1;
}

ssize_t pwrite(int file, const void* bytes, size_t count, off_t offset) {
  static const auto real = next<ssize_t (*)(int, const void*, size_t, off_t)>("pwrite");
  return admit(file, true) ? real(file, bytes, count, offset) : -1;
}

ssize_t pwrite64(int file, const void* bytes, size_t count, off64_t offset) {
  static const auto real = next<ssize_t (*)(int, const void*, size_t, off64_t)>("pwrite64");
  return admit(file, true) ? real(file, bytes, count, offset) : -1;
}

ssize_t pwritev(int file, const struct iovec* parts, int count, off_t offset) {
  static const auto real = next<ssize_t (*)(int, const struct iovec*, int, off_t)>("pwritev");
  return admit(file, true) ? real(file, parts, count, offset) : -1;
}

}  // extern "C"
