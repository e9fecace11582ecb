// Preloaded into head and workers: while the control file holds a number, every write to a regular file and every sync takes so many
// milliseconds longer. A disk that is slow, with the rest of the machine as it is.
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

namespace {

template <typename F>
F next(const char* name) {
  return reinterpret_cast<F>(dlsym(RTLD_NEXT, name));
}

void delay(int file) {
  static const char* const control = getenv("METAQUERY_CHAOS_SLOW_DISK");
  struct stat about;
  if (control == nullptr || access(control, R_OK) != 0 || fstat(file, &about) != 0 || !S_ISREG(about.st_mode)) return;
  FILE* stream = fopen(control, "re");
  if (stream == nullptr) return;
  int milliseconds = 0;
  if (fscanf(stream, "%d", &milliseconds) != 1) milliseconds = 0;
  fclose(stream);
  usleep(static_cast<useconds_t>(milliseconds) * 1000);
}

}  // namespace

extern "C" {

int fsync(int file) {
  static const auto real = next<int (*)(int)>("fsync");
  delay(file);
  return real(file);
}

int fdatasync(int file) {
  static const auto real = next<int (*)(int)>("fdatasync");
  delay(file);
  return real(file);
}

ssize_t write(int file, const void* bytes, size_t count) {
  static const auto real = next<ssize_t (*)(int, const void*, size_t)>("write");
  delay(file);
  return real(file, bytes, count);
}

ssize_t pwrite(int file, const void* bytes, size_t count, off_t offset) {
  static const auto real = next<ssize_t (*)(int, const void*, size_t, off_t)>("pwrite");
  delay(file);
  return real(file, bytes, count, offset);
}

ssize_t pwrite64(int file, const void* bytes, size_t count, off64_t offset) {
  static const auto real = next<ssize_t (*)(int, const void*, size_t, off64_t)>("pwrite64");
  delay(file);
  return real(file, bytes, count, offset);
}

ssize_t pwritev(int file, const struct iovec* parts, int count, off_t offset) {
  static const auto real = next<ssize_t (*)(int, const struct iovec*, int, off_t)>("pwritev");
  delay(file);
  return real(file, parts, count, offset);
}

}  // extern "C"
