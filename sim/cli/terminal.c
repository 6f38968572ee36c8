/* SPDX-License-Identifier: Apache-2.0 */
#include "terminal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fleetcast/base/file.h>

bool cli_colored(color wish) {
  if (wish != COLOR_AUTO) return wish == COLOR_ALWAYS;
  const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
  return isatty(STDERR_FILENO) && !(no && *no) && term && strcmp(term, "dumb") != 0;
}

/* --- diagnostics --- */

static void show_headline(const fc_diag *diag, bool colored) {
  static const char *const paint[] = {
      [FC_NOTE] = "\033[1;36m", [FC_WARNING] = "\033[1;35m", [FC_ERROR] = "\033[1;31m"};
  static const char *const word[] = {
      [FC_NOTE] = "note: ", [FC_WARNING] = "warning: ", [FC_ERROR] = "error: "};
  char line[512];
  (void)fc_diag_format(line, sizeof line, diag);
  char *severity = strstr(line, word[diag->severity]);
  if (!colored || !severity) {
    (void)fprintf(stderr, "%s\n", line);
    return;
  }
  char *text = severity + strlen(word[diag->severity]);
  (void)fprintf(stderr, "\033[1m%.*s%s%.*s\033[0m%s\n", (int)(severity - line), line, paint[diag->severity],
                (int)(text - severity), severity, text);
}

/* The line and a caret below its column; columns are characters, tabs stay tabs. */
static void show_excerpt(const char *text, fc_pos at, bool colored) {
  enum { WIDEST = 160 };
  for (size_t line = 1; text && line < at.line; line++) {
    text = strchr(text, '\n');
    if (text) text++;
  }
  if (!text) return;
  size_t length = strcspn(text, "\r\n"), column = 1;
  if (length == 0 || length > WIDEST) return;
  for (size_t i = 0; i < length; i++)
    if ((unsigned char)text[i] < ' ' && text[i] != '\t') return; /* not for a terminal */
  (void)fprintf(stderr, "%5zu | %.*s\n      | ", at.line, (int)length, text);
  for (size_t i = 0; i < length && column < at.column; i++) {
    if (((unsigned char)text[i] & 0xC0) == 0x80) continue;
    (void)fputc(text[i] == '\t' ? '\t' : ' ', stderr);
    column++;
  }
  (void)fprintf(stderr, "%s\n", colored ? "\033[1;32m^\033[0m" : "^");
}

void cli_show_diags(const fc_diags *d, bool colored) {
  enum { LARGEST = 4 << 20 };
  char *text = NULL;
  const char *source = NULL;
  for (size_t i = 0; i < d->n; i++) {
    const fc_diag *diag = &d->item[i];
    show_headline(diag, colored);
    if (!diag->at.line || !*diag->source || *diag->source == '<') continue;
    if (!source || strcmp(source, diag->source) != 0) {
      size_t length;
      free(text);
      if (fc_file_read(&text, &length, diag->source, LARGEST)) text = NULL;
      source = diag->source;
    }
    show_excerpt(text, diag->at, colored);
  }
  free(text);
  if (d->dropped) (void)fprintf(stderr, "fleetcast: and %zu more\n", d->dropped);
}

/* --- stdout --- */

int cli_print(const char *text) {
  if (fputs(text, stdout) != EOF && fflush(stdout) == 0) return EXIT_OK;
  if (errno != EPIPE) (void)fprintf(stderr, "fleetcast: cannot write to stdout: %s\n", strerror(errno));
  clearerr(stdout); /* told */
  return EXIT_IO;
}

/* --- progress --- */

static double seconds_between(struct timespec a, struct timespec b) {
  return (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
}

progress cli_progress(bool quiet) {
  progress p = {.on = !quiet && isatty(STDERR_FILENO)};
  (void)clock_gettime(CLOCK_MONOTONIC, &p.start);
  p.last = p.start;
  return p;
}

/* Is it time to show something?  Then `*spent` is the time since the start. */
static bool is_due(progress *p, double *spent) {
  struct timespec t;
  if (!p->on) return false;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  if (seconds_between(p->last, t) < 0.1) return false;
  p->last = t;
  p->shown = true;
  *spent = seconds_between(p->start, t);
  return true;
}

static void show_rest(double share, double spent) {
  if (share > 0.01) (void)fprintf(stderr, "%.0f s left", spent * (1 - share) / share);
  (void)fflush(stderr);
}

void cli_progress_show(void *context, double share, fc_time now) {
  double spent;
  if (!is_due(context, &spent)) return;
  char date[FC_TIME_TEXT];
  fc_time_format(date, now);
  (void)fprintf(stderr, "\r\033[K%3.0f %%  simulated to %.10s  ", 100 * share, date);
  show_rest(share, spent);
}

void cli_progress_tell(void *context, double share, const char *what) {
  double spent;
  if (!is_due(context, &spent)) return;
  (void)fprintf(stderr, "\r\033[K%3.0f %%  %.40s  ", 100 * share, what);
  show_rest(share, spent);
}

void cli_progress_note(void *context, const char *what) {
  double spent;
  if (!is_due(context, &spent)) return;
  (void)fprintf(stderr, "\r\033[K%.70s", what);
  (void)fflush(stderr);
}

void cli_progress_clear(progress *p) {
  if (!p->shown) return;
  (void)fputs("\r\033[K", stderr);
  p->shown = false;
}
