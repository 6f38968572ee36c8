/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/base/stop.h>

#include <stddef.h>
#include <stdio.h>

static volatile sig_atomic_t stop_signal;

static void ask_to_stop(int number) {
  stop_signal = number;
}

void fc_stop_catch(void) {
  static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    struct sigaction action = {.sa_handler = ask_to_stop, .sa_flags = (int)SA_RESETHAND}, before;
    (void)sigemptyset(&action.sa_mask);
    if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
      (void)sigaction(numbers[i], &action, NULL);
  }
}

const volatile sig_atomic_t *fc_stop_flag(void) {
  return &stop_signal;
}

void fc_stop_die(void) {
  (void)fflush(NULL);
  (void)signal(stop_signal, SIG_DFL);
  (void)raise(stop_signal);
}
