/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/base/stop.h>

#include <stddef.h>
#include <stdio.h>

static atomic_int stop_signal;

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

const atomic_int *fc_stop_flag(void) {
  return &stop_signal;
}

void fc_stop_die(void) {
  (void)fflush(NULL);
  int number = stop_signal;
  (void)signal(number, SIG_DFL);
  (void)raise(number);
}
