/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CALIBRATE_REPORT_SVG_H
#define FC_CALIBRATE_REPORT_SVG_H

#include <stddef.h>

#include <fleetcast/base/file.h>

/* Drawing for the calibration report: inline SVG, coloured by the page's CSS variables. */

/* A family's points as they are drawn. */
typedef struct report_plot {
  size_t n;
  const double *fitted_s, *measured_s, *work; /* [n], all > 0 */
  double half_width;                          /* typical half width of the 90 % interval, of ln(time) */
  const char *work_unit;                      /* "FLOP" or "B" */
} report_plot;

/* Measured over fitted with the diagonal and the band; residuals over work. */
void report_draw_plot(fc_file *file, const report_plot *plot);
/* A dot at the median and a line to the 90th percentile, on a scale from 0 to 40 %. */
void report_draw_range(fc_file *file, double median, double p90);

enum { REPORT_NUMBER = 32 };
/* Three significant digits and a unit: "12.3 us", "1.5 GFLOP". */
void report_seconds(char out[REPORT_NUMBER], double seconds);
void report_work(char out[REPORT_NUMBER], double work, const char *unit);
/* Text for HTML: the five special characters as entities, control characters as spaces. */
void report_escape(fc_file *file, const char *text);

#endif
