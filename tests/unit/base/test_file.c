/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/base/file.h>

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scratch.h"

static char folder[SCRATCH_ROOM];

static void make_folder(void) {
  scratch_new(folder);
}

static void remove_folder(void) {
  scratch_remove(folder);
}

TestSuite(file, .init = make_folder, .fini = remove_folder);

static const char *at(const char *name) {
  return scratch_path(folder, name);
}

static void put(const char *path, const char *text) {
  FILE *f = fopen(path, "w");
  cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void expect_text(const char *path, const char *text) {
  char *bytes;
  size_t length;
  cr_assert_eq(fc_file_read(&bytes, &length, path, 1 << 20), FC_OK, "%s: %s", path, strerror(errno));
  cr_expect_eq(length, strlen(text));
  cr_expect_str_eq(bytes, text);
  free(bytes);
}

static int entries(void) {
  DIR *d = opendir(folder);
  cr_assert(d);
  int n = 0;
  while (readdir(d)) n++;
  (void)closedir(d);
  return n - 2;
}

/* --- reading --- */

static void expect_unreadable(const char *path, size_t cap, int error) {
  char *bytes = folder;
  size_t length = 1;
  cr_expect_eq(fc_file_read(&bytes, &length, path, cap), FC_E_IO, "%s", path);
  cr_expect_eq(errno, error, "%s: %s", path, strerror(errno));
  cr_expect_null(bytes);
  cr_expect_eq(length, 0);
}

Test(file, reads_whole_files_under_a_cap) {
  put(at("f"), "12345");
  put(at("empty"), "");
  expect_text(at("f"), "12345");
  expect_text(at("empty"), "");
  expect_unreadable(at("f"), 4, EFBIG);
  expect_unreadable(at("none"), 9, ENOENT);
  expect_unreadable(folder, 9, EISDIR);
  expect_unreadable("/dev/zero", 100000, EFBIG);
  char *bytes;
  size_t length;
  cr_expect_eq(fc_file_read(&bytes, &length, at("f"), 5), FC_OK);
  free(bytes);
  cr_expect_eq(fc_file_read(&bytes, &length, "/proc/self/status", 1 << 20), FC_OK); /* of size 0, they say */
  cr_expect_gt(length, 100);
  free(bytes);
}

Test(file, reads_pipes) {
  const char *path = at("fifo");
  cr_assert_eq(mkfifo(path, 0600), 0);
  pid_t child = fork();
  if (child == 0) {
    FILE *f = fopen(path, "w");
    for (int i = 0; i < 50000; i++) (void)fputs("0123456789", f);
    _exit(fclose(f) != 0);
  }
  char *bytes;
  size_t length;
  cr_assert_eq(fc_file_read(&bytes, &length, path, 1 << 20), FC_OK);
  cr_expect_eq(length, 500000);
  free(bytes);
  cr_expect_eq(waitpid(child, NULL, 0), child);
}

/* --- writing --- */

static void fill(fc_file *f, size_t bytes) {
  char block[1000];
  memset(block, 'x', sizeof block);
  for (; bytes >= sizeof block; bytes -= sizeof block) fc_file_write(f, block, sizeof block);
  fc_file_write(f, block, bytes);
}

Test(file, has_its_name_only_once_committed) {
  fc_file *f;
  cr_assert_eq(fc_file_create(&f, at("f")), FC_OK);
  fc_file_printf(f, "%s %d\n", "line", 1);
  fill(f, 200000);
  cr_expect_neq(access(at("f"), F_OK), 0);
  cr_expect_eq(entries(), 1);
  cr_assert_eq(fc_file_commit(f), FC_OK);
  cr_expect_eq(entries(), 1);
  struct stat st;
  cr_assert_eq(stat(at("f"), &st), 0);
  cr_expect_eq(st.st_size, 200007);
}

Test(file, keeps_the_umask) {
  (void)umask(027);
  fc_file *f;
  cr_assert_eq(fc_file_create(&f, at("f")), FC_OK);
  cr_assert_eq(fc_file_commit(f), FC_OK);
  struct stat st;
  cr_assert_eq(stat(at("f"), &st), 0);
  cr_expect_eq(st.st_mode & 0777, 0640);
}

Test(file, long_texts_are_printed_whole) {
  char text[2000];
  memset(text, 'y', sizeof text - 1);
  text[sizeof text - 1] = '\0';
  fc_file *f;
  cr_assert_eq(fc_file_create(&f, at("f")), FC_OK);
  fc_file_printf(f, "%s", text);
  cr_assert_eq(fc_file_commit(f), FC_OK);
  expect_text(at("f"), text);
}

Test(file, replaces_what_was_there_only_at_the_end) {
  put(at("f"), "old");
  fc_file *f;
  cr_assert_eq(fc_file_create(&f, at("f")), FC_OK);
  fill(f, 100000);
  cr_expect_eq(fc_file_sync(f), FC_OK);
  expect_text(at("f"), "old");
  fc_file_write(f, "more", 4);
  fc_file_abandon(f);
  expect_text(at("f"), "old");
  cr_expect_eq(entries(), 1);
  cr_assert_eq(fc_file_create(&f, at("f")), FC_OK);
  fc_file_write(f, "n", 1);
  cr_expect_eq(fc_file_sync(f), FC_OK);
  fc_file_write(f, "ew", 2); /* after the sync: synced again */
  cr_assert_eq(fc_file_commit(f), FC_OK);
  expect_text(at("f"), "new");
}

Test(file, follows_links) {
  put(at("real"), "old");
  cr_assert_eq(symlink(at("real"), at("link")), 0);
  fc_file *f;
  cr_assert_eq(fc_file_create(&f, at("link")), FC_OK);
  fc_file_write(f, "new", 3);
  cr_assert_eq(fc_file_commit(f), FC_OK);
  struct stat st;
  cr_assert_eq(lstat(at("link"), &st), 0);
  cr_expect(S_ISLNK(st.st_mode));
  expect_text(at("real"), "new");
}

Test(file, two_writers_do_not_meet) {
  fc_file *a, *b;
  cr_assert_eq(fc_file_create(&a, at("f")), FC_OK);
  cr_assert_eq(fc_file_create(&b, at("f")), FC_OK);
  fc_file_write(a, "aaa", 3);
  fc_file_write(b, "b", 1);
  cr_expect_eq(fc_file_commit(b), FC_OK);
  expect_text(at("f"), "b");
  cr_expect_eq(fc_file_commit(a), FC_OK);
  expect_text(at("f"), "aaa");
  cr_expect_eq(entries(), 1);
}

Test(file, nowhere_to_write) {
  fc_file *f = (fc_file *)folder;
  cr_expect_eq(fc_file_create(&f, at("none/f")), FC_E_IO);
  cr_expect_eq(errno, ENOENT);
  cr_expect_null(f);
  put(at("plain"), "");
  cr_expect_eq(fc_file_create(&f, at("plain/f")), FC_E_IO);
  cr_expect_eq(errno, ENOTDIR);
  cr_expect_eq(fc_file_create(&f, folder), FC_E_IO);
  cr_expect_eq(errno, EISDIR);
  cr_expect_eq(fc_file_commit(NULL), FC_OK);
  fc_file_abandon(NULL);
}

Test(file, unwritable_folder) {
  if (geteuid() == 0) { /* root may write anywhere: become nobody */
    cr_assert_eq(chmod(folder, 0755), 0);
    cr_assert_eq(seteuid(65534), 0);
  } else {
    cr_assert_eq(chmod(folder, 0555), 0);
  }
  fc_file *f;
  cr_expect_eq(fc_file_create(&f, at("f")), FC_E_IO);
  cr_expect_eq(errno, EACCES);
  if (getuid() == 0) cr_expect_eq(seteuid(0), 0);
  cr_expect_eq(chmod(folder, 0755), 0);
  cr_expect_eq(entries(), 0);
}

Test(file, a_full_device_is_told_at_commit) {
  fc_file *f;
  cr_assert_eq(fc_file_create(&f, "/dev/full"), FC_OK);
  fill(f, 10); /* stays in the buffer until commit */
  cr_expect_eq(fc_file_commit(f), FC_E_IO);
  cr_expect_eq(errno, ENOSPC);
  cr_assert_eq(fc_file_create(&f, "/dev/full"), FC_OK);
  fill(f, 1000000);
  cr_expect_eq(fc_file_sync(f), FC_E_IO);
  cr_expect_eq(fc_file_commit(f), FC_E_IO);
  cr_expect_eq(errno, ENOSPC);
  struct stat st;
  cr_assert_eq(stat("/dev/full", &st), 0);
  cr_expect(S_ISCHR(st.st_mode), "the device itself is never replaced");
}

/* A disk that fills up half-way: the size limit of the process stands for it. */
Test(file, a_full_disk_leaves_nothing) {
  put(at("f"), "old");
  (void)signal(SIGXFSZ, SIG_IGN);
  struct rlimit limit = {.rlim_cur = 100000, .rlim_max = RLIM_INFINITY};
  cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
  limit.rlim_cur = 100000;
  cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
  fc_file *f;
  cr_assert_eq(fc_file_create(&f, at("f")), FC_OK);
  fill(f, 150000);
  cr_expect_eq(fc_file_commit(f), FC_E_IO);
  cr_expect_eq(errno, EFBIG);
  limit.rlim_cur = limit.rlim_max;
  cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
  expect_text(at("f"), "old");
  cr_expect_eq(entries(), 1);
}

Test(file, a_killed_writer_leaves_the_old_file) {
  put(at("f"), "old");
  pid_t child = fork();
  if (child == 0) {
    fc_file *f;
    if (fc_file_create(&f, at("f")) == FC_OK) fill(f, 1000000);
    (void)raise(SIGKILL);
  }
  int status;
  cr_assert_eq(waitpid(child, &status, 0), child);
  cr_expect(WIFSIGNALED(status));
  expect_text(at("f"), "old");
}

static void count(void *context, const void *bytes, size_t length) {
  (void)bytes;
  *(size_t *)context += length;
}

Test(file, the_tap_sees_every_byte) {
  fc_file *f;
  size_t seen = 0;
  cr_assert_eq(fc_file_create(&f, at("f")), FC_OK);
  fc_file_tap(f, count, &seen);
  fill(f, 123456);
  fc_file_write(f, memset((char[70000]){0}, 'z', 70000), 70000);
  cr_assert_eq(fc_file_commit(f), FC_OK);
  cr_expect_eq(seen, 193456);
}
